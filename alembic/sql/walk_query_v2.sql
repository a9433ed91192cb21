-- Walk the log along a query (OR of items) and return the positions that match, in walking order.
--
-- Items come as three arrays of the same length; the values of a part are joined by U+001F, which no name, id or value
-- can contain. No items: every fact. `through` is how far all items came; see walk_item.
create or replace function factwire.walk_query(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_visits_max integer,
  out positions bigint[],
  out through bigint
)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_items constant integer := greatest(cardinality(p_tags), 1);
  v_walk record;
begin
  positions := '{}';
  for v_item in 1 .. v_items loop
    v_walk := factwire.walk_item(
      factwire.readable_namespaces(coalesce(string_to_array(p_namespaces[v_item], e'\x1f'), '{}')),
      coalesce(string_to_array(p_types[v_item], e'\x1f'), '{}'),
      coalesce(string_to_array(p_tags[v_item], e'\x1f'), '{}'),
      p_after, p_until, p_descending, p_hits_max, p_visits_max / v_items);
    positions := positions || v_walk.positions;
    through := case
      when through is null then v_walk.through
      when p_descending then greatest(through, v_walk.through)
      else least(through, v_walk.through)
    end;
  end loop;
  if v_items = 1 then
    return;
  end if;
  if p_descending then
    positions := array(
      select distinct u from unnest(positions) u where u > through order by u desc limit p_hits_max);
  else
    positions := array(
      select distinct u from unnest(positions) u where u <= through order by u limit p_hits_max);
  end if;
  if cardinality(positions) = p_hits_max then
    through := positions[p_hits_max] - p_descending::int;
  end if;
end
$$;
