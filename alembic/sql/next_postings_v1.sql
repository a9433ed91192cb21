-- The next `p_postings_max` positions of (p_low, p_high] that carry any of the tags, in walking order.
-- Without tags, those of the log itself: positions are dense, so they need not be read.
--
-- A row of fact_tags stands for all facts of one append that have its tag: `position` is the last of them, `earlier` how
-- much before it the others stand, at most 999. So what lies at or below p_high may be in a row up to 999 above it.
-- The rows of a tag do not overlap, and the order by with a limit stops at the row that fills the page.
create function factwire.next_postings(
  p_tags text[],
  p_low bigint,
  p_high bigint,
  p_descending boolean,
  p_postings_max integer
) returns bigint[]
language plpgsql
stable
as $$
begin
  if p_tags is null and p_descending then
    return array(select generate_series(p_high, greatest(p_high - p_postings_max, p_low) + 1, -1));
  elsif p_tags is null then
    return array(select generate_series(p_low + 1, least(p_low + p_postings_max, p_high)));
  elsif p_descending then
    return array(
      select distinct g.position
        from unnest(p_tags) t (tag)
       cross join lateral (
               select r.position - b.back as position
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
                limit p_postings_max) g
       order by g.position desc
       limit p_postings_max);
  else
    return array(
      select distinct g.position
        from unnest(p_tags) t (tag)
       cross join lateral (
               select r.position - b.back as position
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
                limit p_postings_max) g
       order by g.position
       limit p_postings_max);
  end if;
end
$$;
