-- The namespaces of an item in the form of the version before, as scope_of reads them: names, or patterns that begin with
-- U+001C (included) or U+001D (excluded). Patterns are expanded over the catalogue, as that version does.
create function factwire.scope_before(p_namespaces text) returns text
language sql
stable
as $$
  select case when p_namespaces = '' then ''
              else coalesce(
                     string_agg(n.namespace || e'\x1f' || n.namespace || e'\x01', e'\x1f' order by n.namespace)
                       || e'\x1c' || string_agg('n:' || n.namespace, e'\x1f' order by n.namespace) || e'\x1c=',
                     e'\x1f\x01\x1cn:\x1c=') end
    from (select distinct g.name collate "C" as namespace
            from unnest(string_to_array(p_namespaces, e'\x1f')) g (name)
           where left(g.name, 1) not in (e'\x1c', e'\x1d')
           union
          select s.namespace
            from factwire.namespaces s
           where exists (
                   select from unnest(string_to_array(p_namespaces, e'\x1f')) p (pattern)
                    where left(p.pattern, 1) = e'\x1c' and factwire.covers(substr(p.pattern, 2), s.namespace))
             and not exists (
                   select from unnest(string_to_array(p_namespaces, e'\x1f')) p (pattern)
                    where left(p.pattern, 1) = e'\x1d' and factwire.covers(substr(p.pattern, 2), s.namespace))) n
$$;
