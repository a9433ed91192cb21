-- The names of the namespaces that an item of a query is about: as given, or what the patterns of its author's grants cover.
--
-- Patterns begin with U+001C (included) or U+001D (excluded), which no client can send. They are expanded here, in the
-- statement's own snapshot: a cached expansion would miss a namespace that is new. A part that covers nothing
-- becomes one empty name, which matches nothing; an empty part would match everything.
create function factwire.readable_namespaces(p_namespaces text[]) returns text[]
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
  if cardinality(p_namespaces) = 0 or left(p_namespaces[1], 1) not in (e'\x1c', e'\x1d') then
    return p_namespaces;
  end if;
  return coalesce(
    (select array_agg(n.namespace)
       from (select distinct t.namespace from factwire.types t) n
      where exists (
              select from unnest(p_namespaces) p (pattern)
               where left(p.pattern, 1) = e'\x1c' and factwire.covers(substr(p.pattern, 2), n.namespace))
        and not exists (
              select from unnest(p_namespaces) p (pattern)
               where left(p.pattern, 1) = e'\x1d' and factwire.covers(substr(p.pattern, 2), n.namespace))),
    '{""}');
end
$$;
