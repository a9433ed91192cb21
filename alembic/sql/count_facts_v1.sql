-- How many facts there are of each type and version, exactly: what was folded, and the facts behind the last fold.
-- Null parameters do not restrict.
create function factwire.count_facts(p_namespace text, p_type text)
returns table (namespace text, type text, version integer, facts bigint, last_position bigint)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_through bigint;
begin
  select c.through into v_through from factwire.counted c;
  return query
  select c.namespace, c.type, c.version, sum(c.facts)::bigint, max(c.last_position)
    from (select k.namespace, k.type, k.version, k.facts, k.last_position
            from factwire.type_counts k
           where (p_namespace is null or k.namespace = p_namespace)
             and (p_type is null or k.type = p_type)
           union all
          select f.namespace, f.type, f.version, count(*), max(f.position)
            from factwire.facts f
           where f.position > v_through
             and (p_namespace is null or f.namespace = p_namespace)
             and (p_type is null or f.type = p_type)
           group by f.namespace, f.type, f.version) c
   group by c.namespace, c.type, c.version
   order by c.namespace, c.type, c.version;
end
$$;
