-- The posting lists of a tag in some namespaces, one for each namespace that has it, found by a skip scan.
--
-- Null if there are more than p_lists_max. p_bounds are ranges of names, see parse_scope; null for every namespace.
-- p_from is the first position of a partition. Older partitions are not read; within the others nothing is skipped.
create function factwire.find_lists(p_tag text, p_bounds text[], p_from bigint, p_lists_max integer) returns text[]
language plpgsql
stable
as $$
declare
  v_bounds constant text[] := coalesce(p_bounds, array['', '~']);
  v_lists text[];
begin
  v_lists := array(
    select n.tag
      from generate_series(1, cardinality(v_bounds), 2) b (place)
     cross join lateral (
             with recursive k (tag) as (
               (select r.tag
                  from factwire.fact_tags r
                 where r.tag >= p_tag || e'\x1d' || v_bounds[b.place]
                   and r.tag < p_tag || e'\x1d' || v_bounds[b.place + 1]
                   and r.position >= p_from
                 order by r.tag, r.position
                 limit 1)
               union all
               select (select r.tag
                         from factwire.fact_tags r
                        where r.tag > k.tag
                          and r.tag < p_tag || e'\x1d' || v_bounds[b.place + 1]
                          and r.position >= p_from
                        order by r.tag, r.position
                        limit 1)
                 from k
                where k.tag is not null)
             select k.tag from k where k.tag is not null) n
     limit p_lists_max + 1);
  return case when cardinality(v_lists) <= p_lists_max then v_lists end;
end
$$;
