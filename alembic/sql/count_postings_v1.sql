-- Count the facts of (p_low, p_high] in some posting lists, reading at most p_rows_max rows. A row stands for all facts of
-- one append, so the count may be up to a thousand times as high.
create function factwire.count_postings(p_lists text[], p_low bigint, p_high bigint, p_rows_max integer) returns integer
language plpgsql
stable
as $$
begin
  return (
    select coalesce(sum(q.facts), 0)
      from (select c.facts
              from unnest(p_lists) l (tag)
             cross join lateral (
                     select 1 + coalesce(cardinality(r.earlier), 0) as facts
                       from factwire.fact_tags r
                      where r.tag = l.tag and r.position > p_low and r.position < p_high + 1000
                      order by r.position
                      limit p_rows_max) c
             limit p_rows_max) q);
end
$$;
