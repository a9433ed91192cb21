-- The limit of the catalogue that some new types exceed, or null: 'types' (of a namespace) or 'namespaces' (of a principal).
create function factwire.exceeded_limit(
  p_namespaces text[],
  p_types text[],
  p_versions integer[],
  p_principal text,
  p_types_max integer,
  p_namespaces_max integer
) returns text
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_new integer;
  v_most integer;
begin
  select count(*) filter (where b.known is null), max(coalesce(b.known, 0) + b.types)
    into v_new, v_most
    from (select n.namespace, n.types,
                 (select s.types from factwire.namespaces s where s.namespace = n.namespace) as known
            from (select k.namespace, count(*)::integer as types
                    from (select distinct u.namespace, u.type, u.version
                            from unnest(p_namespaces, p_types, p_versions) u (namespace, type, version)) k
                   where not exists (
                           select from factwire.types t
                            where t.namespace = k.namespace and t.type = k.type and t.version = k.version)
                   group by k.namespace) n) b;
  if v_most > p_types_max then
    return 'types';
  end if;
  if v_new > 0 and v_new
       + coalesce((select c.namespaces from factwire.creators c where c.principal = p_principal), 0) > p_namespaces_max then
    return 'namespaces';
  end if;
  return null;
end
$$;
