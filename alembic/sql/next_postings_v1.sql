-- The next positions of (p_low, p_high] in any of some posting lists, in walking order, at most p_postings_max.
--
-- A row of fact_tags stands for all facts of one append that have its tag: `position` is the last of them, `earlier` the
-- distances of the others before it, at most 999. So a position at or below p_high may be in a row up to 999 above it.
-- The rows of a tag do not overlap, and the order by with a limit stops at the row that fills a list's share.
-- Each of many lists has a share. Where one has more postings than its share, nothing after that counts: `edge` is the
-- position that all lists reached. `visits` is the number of lists and postings read.
create function factwire.next_postings(
  p_lists text[],
  p_low bigint,
  p_high bigint,
  p_descending boolean,
  p_postings_max integer,
  out positions bigint[],
  out edge bigint,
  out visits integer
)
language plpgsql
stable
as $$
declare
  v_lists constant integer := cardinality(p_lists);
  v_share constant integer := case v_lists when 1 then p_postings_max else greatest(8, 2 * p_postings_max / v_lists) end;
begin
  if p_descending then
    with l as materialized (
      select array(
               select r.position - b.back
                 from factwire.fact_tags r
                cross join lateral (
                        select 0 as back
                         union all
                        select unnest(r.earlier)) b
                where r.tag = t.tag
                  and r.position > p_low
                  and r.position < p_high + 1000
                  and r.position - b.back > p_low
                  and r.position - b.back <= p_high
                order by r.position desc, b.back
                limit v_share) as found
        from unnest(p_lists) t (tag)
    ), e as materialized (
      select coalesce(max(l.found[v_share] - 1), p_low) as edge, sum(cardinality(l.found)) as found from l
    )
    select e.edge, v_lists + e.found,
           array(select distinct u.position
                   from l
                  cross join lateral unnest(l.found) u (position)
                  where u.position > e.edge
                  order by u.position desc
                  limit p_postings_max)
      into edge, visits, positions
      from e;
    if cardinality(positions) = p_postings_max then
      edge := positions[p_postings_max] - 1;
    end if;
  else
    with l as materialized (
      select array(
               select r.position - b.back
                 from factwire.fact_tags r
                cross join lateral (
                        select 0 as back
                         union all
                        select unnest(r.earlier)) b
                where r.tag = t.tag
                  and r.position > p_low
                  and r.position < p_high + 1000
                  and r.position - b.back > p_low
                  and r.position - b.back <= p_high
                order by r.position, b.back desc
                limit v_share) as found
        from unnest(p_lists) t (tag)
    ), e as materialized (
      select coalesce(min(l.found[v_share]), p_high) as edge, sum(cardinality(l.found)) as found from l
    )
    select e.edge, v_lists + e.found,
           array(select distinct u.position
                   from l
                  cross join lateral unnest(l.found) u (position)
                  where u.position <= e.edge
                  order by u.position
                  limit p_postings_max)
      into edge, visits, positions
      from e;
    if cardinality(positions) = p_postings_max then
      edge := positions[p_postings_max];
    end if;
  end if;
end
$$;
