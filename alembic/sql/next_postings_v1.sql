-- The next `p_postings_max` positions of (p_low, p_high] that carry any of the tags, in walking order.
-- Without tags, those of the log itself: positions are dense, so they need not be read.
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
               select p.position
                 from factwire.fact_tags p
                where p.tag = t.tag
                  and p.position > p_low
                  and p.position <= p_high
                order by p.position desc
                limit p_postings_max) g
       order by g.position desc
       limit p_postings_max);
  else
    return array(
      select distinct g.position
        from unnest(p_tags) t (tag)
       cross join lateral (
               select p.position
                 from factwire.fact_tags p
                where p.tag = t.tag
                  and p.position > p_low
                  and p.position <= p_high
                order by p.position
                limit p_postings_max) g
       order by g.position
       limit p_postings_max);
  end if;
end
$$;
