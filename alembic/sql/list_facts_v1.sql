-- The facts of a page of find_page one by one, as JSON: for pages that cannot be built in the database.
-- As many as fit into p_bytes_max together with their seals, at least one. p_positions null means every fact of
-- (p_after, p_through].
create function factwire.list_facts(
  p_after bigint,
  p_through bigint,
  p_positions bigint[],
  p_bytes_max integer
) returns table ("position" bigint, id uuid, namespace text, type text, fact bytea)
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
  v_positions constant bigint[] := coalesce(p_positions, array(select generate_series(p_after + 1, p_through)));
begin
  return query
  select f.position, f.id, f.namespace, f.type,
         factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document)
    from (select c.position,
                 c.place,
                 coalesce(sum(octet_length(q.document) + coalesce(octet_length(s.seal), 0)) over (
                   order by c.place rows between unbounded preceding and 1 preceding), 0) as bytes_before
            from unnest(v_positions) with ordinality c (position, place)
            left join factwire.facts q on q.position = c.position
            left join factwire.sealed s on s.position = c.position
           where q.position is not null or factwire.raise_missing_fact(c.position)) b
   cross join lateral (select * from factwire.facts q where q.position = b.position limit 1) f
   where b.bytes_before <= p_bytes_max
   order by b.place;
end
$$;
