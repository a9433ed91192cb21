-- The facts of a page that find_page has found, one by one: as compose_page has them, with nothing between them.
-- As many as fit into p_bytes_max together with their seals, and at least one.
create function factwire.list_page(
  p_form text,
  p_epoch integer,
  p_after bigint,
  p_through bigint,
  p_positions bigint[],
  p_bytes_max integer
) returns table ("position" bigint, id uuid, fact bytea)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_id text := 'id: ' || p_epoch || ':';
  v_positions bigint[] := p_positions;
begin
  if v_positions is null then
    v_positions := array(
      select f.position from factwire.facts f
       where f.position > p_after and f.position <= p_through
       order by f.position);
  end if;
  return query
  select f.position, f.id, factwire.formed(p_form, v_id, f.position, f.namespace, f.type, f.document)
    from (select c.position,
                 c.place,
                 coalesce(sum(octet_length(q.document) + coalesce(octet_length(s.seal), 0)) over (
                   order by c.place rows between unbounded preceding and 1 preceding), 0) as bytes_before
            from unnest(v_positions) with ordinality c (position, place)
            join factwire.facts q on q.position = c.position
            left join factwire.sealed s on s.position = c.position) b
    join factwire.facts f on f.position = b.position
   where b.bytes_before <= p_bytes_max
   order by b.place;
end
$$;
