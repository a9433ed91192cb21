-- The versions of one type, each with its exact number of facts and the position of its last one.
create function factwire.count_type(p_namespace text, p_type text)
returns table (version integer, facts bigint, last_position bigint)
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
  v_through bigint;
begin
  select c.through into v_through from factwire.counted c;
  return query
  select c.version, sum(c.facts)::bigint, max(c.last_position)
    from (select k.version, k.facts, k.last_position
            from factwire.type_counts k
           where k.namespace = p_namespace and k.type = p_type
           union all
          select f.version, 1, f.position
            from factwire.fact_tags r
           cross join lateral (select 0 as back union all select unnest(r.earlier)) b
           cross join lateral (
                   select s.version, s.position from factwire.facts s where s.position = r.position - b.back limit 1) f
           where r.tag = 't:' || p_type || e'\x1d' || p_namespace
             and r.position > v_through
             and r.position - b.back > v_through) c
   group by c.version
   order by c.version;
end
$$;
