-- Namespaces within ranges of names (see parse_scope; null for all) and with a prefix, after a name, in order. Each has
-- its exact number of facts and the position of its last one.
create function factwire.list_namespaces(p_bounds text[], p_prefix text, p_after text, p_names_max integer)
returns table (namespace text, facts bigint, last_position bigint)
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
  v_bounds constant text[] := coalesce(p_bounds, array['', '~']);
begin
  select c.through into v_through from factwire.counted c;
  return query
  select n.namespace, coalesce(k.facts, 0) + t.facts, coalesce(t.last_position, k.last_position)
    from (select r.namespace
            from generate_series(1, cardinality(v_bounds), 2) b (place)
           cross join lateral (
                   select s.namespace
                     from factwire.namespaces s
                    where s.namespace > p_after
                      and s.namespace >= greatest(v_bounds[b.place], p_prefix collate "C")
                      and s.namespace < least(v_bounds[b.place + 1], p_prefix collate "C" || '~')
                    order by s.namespace
                    limit p_names_max) r
           limit p_names_max) n
    left join lateral (
           select c.facts, c.last_position from factwire.namespace_counts c where c.namespace = n.namespace limit 1) k on true
   cross join lateral factwire.count_since('n:' || n.namespace, v_through) t
   order by n.namespace;
end
$$;
