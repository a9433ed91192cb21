-- The facts of each interval of p_seconds from p_from on, until p_to, in namespaces within ranges of names (see
-- parse_scope; null for all), by namespace (p_parts 1), by namespace and type (2), or all together (0).
-- The p_series_max series with most facts have their names, the others are together without a name. If more than
-- p_rows_max rows of activity would be read, the only row has the place -1.
create function factwire.read_activity(
  p_bounds text[], p_from timestamptz, p_to timestamptz, p_seconds integer, p_parts integer, p_series_max integer,
  p_rows_max integer)
returns table (namespace text, type text, total bigint, place integer, facts bigint)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_bounds constant text[] := coalesce(p_bounds, array['', '~']);
begin
  return query
  with found as materialized (
    select case when p_parts > 0 then n.namespace end as namespace,
           case when p_parts > 1 then a.type end as type,
           floor(extract(epoch from a.minute - p_from) / p_seconds)::integer as place,
           a.facts
      from generate_series(1, cardinality(v_bounds), 2) b (place)
     cross join lateral (
             select s.namespace
               from factwire.namespaces s
              where s.namespace >= v_bounds[b.place]
                and s.namespace < v_bounds[b.place + 1]
              order by s.namespace) n
     cross join lateral (
             select c.minute, c.type, c.facts
               from factwire.activity c
              where c.namespace = n.namespace and c.minute >= p_from and c.minute < p_to
              order by c.minute) a
     limit p_rows_max + 1),
  largest as materialized (
    select f.namespace, f.type, sum(f.facts)::bigint as total
      from found f
     group by f.namespace, f.type
     order by 3 desc, 1, 2
     limit p_series_max)
  select null, null, null, -1, null
   where p_rows_max < (select count(*) from found)
   union all
  select l.namespace, l.type, l.total, f.place, sum(f.facts)::bigint
    from found f
    left join largest l on l.namespace is not distinct from f.namespace and l.type is not distinct from f.type
   where p_rows_max >= (select count(*) from found)
   group by l.namespace, l.type, l.total, f.place;
end
$$;
