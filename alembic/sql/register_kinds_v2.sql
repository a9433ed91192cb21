-- Add new namespaces, types and versions of a call to the catalogue, and refuse the requests that exceed a limit.
--
-- A namespace counts for the principal that published its first fact; each version of a type counts as a type. Null limits
-- do not limit. Most calls bring nothing new and do not come here, and most others are far from every limit: requests are
-- examined one by one only if all of them together exceed one. `exceeding` are the refused requests, and `limits` the limit
-- that each of them exceeds. The reserved namespace has no limits: clients publish nothing there.
create function factwire.register_kinds(
  p_requests integer[],
  p_namespaces text[],
  p_types text[],
  p_versions integer[],
  p_principals text[],
  p_types_max integer,
  p_namespaces_max integer,
  p_refused integer[],
  out exceeding integer[],
  out limits text[]
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_brought record;
  v_limit text;
begin
  exceeding := '{}';
  limits := '{}';
  for v_brought in
    with brought as materialized (
      select n.request, n.namespace, n.type, n.version, coalesce(p_principals[n.request + 1], '') as principal
        from (select distinct u.request, u.namespace, u.type, u.version
                from unnest(p_requests, p_namespaces, p_types, p_versions) u (request, namespace, type, version)
               where u.request <> all (p_refused)) n
       where not exists (
               select from factwire.types t
                where t.namespace = n.namespace and t.type = n.type and t.version = n.version)
    ), fits as materialized (
      select not exists (
               select
                 from (select r.namespace, count(distinct (r.type, r.version)) as types
                         from brought r
                        where r.namespace <> 'factwire'
                        group by r.namespace) b
                where b.types + coalesce((select s.types from factwire.namespaces s where s.namespace = b.namespace), 0)
                        > p_types_max)
             and not exists (
               select
                 from (select r.principal, count(distinct r.namespace) as namespaces
                         from brought r
                        where r.namespace <> 'factwire'
                          and not exists (select from factwire.namespaces s where s.namespace = r.namespace)
                        group by r.principal) m
                where m.namespaces
                        + coalesce((select c.namespaces from factwire.creators c where c.principal = m.principal), 0)
                        > p_namespaces_max) as together
    )
    select case when f.together then -1 else b.request end as request, array_agg(b.namespace) as namespaces,
           array_agg(b.type) as types, array_agg(b.version) as versions, array_agg(b.principal) as principals, f.together
      from brought b
     cross join fits f
     group by 1, f.together
     order by 1
  loop
    if not v_brought.together and v_brought.namespaces[1] <> 'factwire' then
      v_limit := factwire.exceeded_limit(
        v_brought.namespaces, v_brought.types, v_brought.versions, v_brought.principals[1], p_types_max, p_namespaces_max);
      if v_limit is not null then
        exceeding := exceeding || v_brought.request;
        limits := limits || v_limit;
        continue;
      end if;
    end if;
    with new as (
      insert into factwire.types (namespace, type, version)
      select distinct k.namespace, k.type, k.version
        from unnest(v_brought.namespaces, v_brought.types, v_brought.versions) k (namespace, type, version)
          on conflict do nothing
      returning namespace
    ), first as (
      insert into factwire.namespaces as s (namespace, principal, types)
      select n.namespace, (select k.principal
                             from unnest(v_brought.namespaces, v_brought.principals) k (namespace, principal)
                            where k.namespace = n.namespace limit 1), count(*)
        from new n
       group by n.namespace
          on conflict (namespace) do update set types = s.types + excluded.types
      returning s.principal, s.xmax = 0 as is_new
    )
    insert into factwire.creators as c (principal, namespaces)
    select f.principal, count(*) from first f where f.is_new group by f.principal
        on conflict (principal) do update set namespaces = c.namespaces + excluded.namespaces;
  end loop;
end
$$;
