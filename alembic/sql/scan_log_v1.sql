-- The positions of (p_low, p_high] whose facts are of some namespaces and types, in walking order, by scanning the log.
-- Nulls do not restrict. A missing fact is never skipped.
create function factwire.scan_log(
  p_bounds text[],
  p_types text[],
  p_low bigint,
  p_high bigint,
  p_descending boolean
) returns bigint[]
language plpgsql
stable
as $$
declare
  v_positions bigint[];
  v_facts bigint;
begin
  if p_bounds is null and p_types is null then
    return array(
      select case when p_descending then p_high - g.place else p_low + 1 + g.place end
        from generate_series(0, p_high - p_low - 1) g (place));
  end if;
  select array_agg(f.position) filter (
           where (p_bounds is null or width_bucket(f.namespace, p_bounds) % 2 = 1)
             and (p_types is null or f.type = any (p_types))),
         count(*)
    into v_positions, v_facts
    from (select s.position, s.namespace, s.type
            from factwire.facts s
           where s.position > p_low
             and s.position <= p_high
           order by s.position) f;
  if v_facts < p_high - p_low then
    perform factwire.raise_missing_fact(c.position)
       from generate_series(p_low + 1, p_high) c (position)
      where not exists (select from factwire.facts f where f.position = c.position)
      limit 1;
  end if;
  if p_descending then
    return array(select u.position from unnest(v_positions) with ordinality u (position, place) order by u.place desc);
  end if;
  return coalesce(v_positions, '{}');
end
$$;
