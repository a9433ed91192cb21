-- Filter positions by types, namespaces and tags; their order is kept.
--
-- Nulls do not restrict. Of the rows of a tag in a namespace only the first one at or above a position can include it; see
-- next_postings. `visits` is the number of facts and rows read. A posting without its fact is never skipped.
create function factwire.keep_matching(
  p_positions bigint[],
  p_bounds text[],
  p_types text[],
  p_tags text[],
  out positions bigint[],
  out visits integer
)
language plpgsql
stable
as $$
begin
  select coalesce(array_agg(c.position order by c.place) filter (where f.fits and m.missing is null), '{}'),
         count(*) + coalesce(sum(case when f.fits then coalesce(m.missing, cardinality(p_tags)) end), 0)
    into positions, visits
    from unnest(p_positions) with ordinality c (position, place)
    left join lateral (
           select s.namespace,
                  (p_bounds is null or width_bucket(s.namespace, p_bounds) % 2 = 1)
                    and (p_types is null or s.type = any (p_types)) as fits
             from factwire.facts s
            where s.position = c.position
            limit 1) f on true
    left join lateral (
           select t.place as missing
             from unnest(p_tags) with ordinality t (tag, place)
            where f.fits
              and not coalesce((
                    select r.position = c.position or r.position - c.position = any (r.earlier)
                      from factwire.fact_tags r
                     where r.tag = t.tag || e'\x1d' || f.namespace
                       and r.position >= c.position
                       and r.position < c.position + 1000
                     order by r.position
                     limit 1), false)
            limit 1) m on true
   where f.fits is not null or factwire.raise_missing_fact(c.position);
end
$$;
