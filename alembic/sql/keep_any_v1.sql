-- Filter positions by alternatives: a fact needs one of some tags. The order of the positions is kept.
--
-- See keep_matching, which filters by tags that a fact needs all of.
create function factwire.keep_any(
  p_positions bigint[],
  p_any text[],
  out positions bigint[],
  out visits integer
)
language plpgsql
stable
as $$
begin
  select coalesce(array_agg(c.position order by c.place) filter (where a.place is not null), '{}'),
         count(*) + coalesce(sum(coalesce(a.place, cardinality(p_any))), 0)
    into positions, visits
    from unnest(p_positions) with ordinality c (position, place)
    left join lateral (
           select s.namespace from factwire.facts s where s.position = c.position limit 1) f on true
    left join lateral (
           select t.place
             from unnest(p_any) with ordinality t (tag, place)
            where coalesce((
                    select r.position = c.position or r.position - c.position = any (r.earlier)
                      from factwire.fact_tags r
                     where r.tag = t.tag || e'\x1d' || f.namespace
                       and r.position >= c.position
                       and r.position < c.position + 1000
                     order by r.position
                     limit 1), false)
            limit 1) a on true
   where f.namespace is not null or factwire.raise_missing_fact(c.position);
end
$$;
