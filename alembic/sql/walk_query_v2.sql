-- Walk the log along a query (OR of items) and return the matching positions, in walking order.
--
-- Items come as three arrays of equal length: namespaces as parse_scope reads them, the values of the other parts joined
-- by U+001F, which no name, id or value can contain; after the tags and U+001C come the tags of which one is enough. No
-- items: every fact. `through` is the position that all items reached; see walk_item. Items share the work, p_seconds and
-- the window; an item leaves its rest to the next.
create or replace function factwire.walk_query(
  p_scopes text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_work_max integer,
  p_seconds double precision,
  p_grid integer,
  p_grids_max integer,
  out positions bigint[],
  out through bigint
)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_items constant integer := greatest(cardinality(p_tags), 1);
  v_began_at constant timestamptz := clock_timestamp();
  v_low bigint := p_after;
  v_high bigint := p_until;
  v_walk record;
begin
  positions := '{}';
  for v_item in 1 .. v_items loop
    v_walk := factwire.walk_item(
      coalesce(p_scopes[v_item], ''),
      coalesce(string_to_array(p_types[v_item], e'\x1f'), '{}'),
      coalesce(string_to_array(split_part(p_tags[v_item], e'\x1c', 1), e'\x1f'), '{}'),
      coalesce(string_to_array(split_part(p_tags[v_item], e'\x1c', 2), e'\x1f'), '{}'),
      v_low, v_high, p_descending, p_hits_max, p_work_max / v_items,
      v_began_at + make_interval(secs => p_seconds * v_item / v_items),
      p_grid, p_grid * greatest(1, p_grids_max / v_items));
    positions := positions || v_walk.positions;
    if p_descending then
      v_low := v_walk.through;
    else
      v_high := v_walk.through;
    end if;
  end loop;
  through := case when p_descending then v_low else v_high end;
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
