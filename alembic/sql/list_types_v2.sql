-- The types of a namespace with a prefix, after a name, in order. Each has its versions, its exact number of facts and
-- the position of its last one. A type is any text: no character sorts after U+10FFFF.
create or replace function factwire.list_types(p_namespace text, p_prefix text, p_after text, p_names_max integer)
returns table (type text, versions integer[], facts bigint, last_position bigint)
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
  select n.type, n.versions, coalesce(k.facts, 0)::bigint + t.facts, coalesce(t.last_position, k.last_position)
    from (select s.type, array_agg(s.version order by s.version) as versions
            from (select u.type, u.version
                    from factwire.types u
                   where u.namespace = p_namespace
                     and u.type > p_after
                     and u.type >= p_prefix
                     and u.type < p_prefix || e'\xf4\x8f\xbf\xbf'
                   order by u.namespace, u.type, u.version) s
           group by s.type
           order by s.type
           limit p_names_max) n
   cross join lateral (
           select sum(c.facts) as facts, max(c.last_position) as last_position
             from factwire.type_counts c
            where c.namespace = p_namespace and c.type = n.type) k
   cross join lateral factwire.count_since('t:' || n.type || e'\x1d' || p_namespace, v_through) t
   order by n.type;
end
$$;
