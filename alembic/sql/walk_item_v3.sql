-- Walk the log along one item of a query and return the positions that match, in walking order.
--
-- Walks (p_after, p_until] upwards, or downwards if p_descending, until p_hits_max positions are found or about
-- p_visits_max postings were visited. `through` is how far it came: every match of (p_after, through], or of
-- (through, p_until] when descending, is in `positions`.
-- The caller pins the plans (generic, no sequential scans, no hash or merge joins).
-- Whether a fact has a further tag is asked as has_tag asks it, but in the statement itself: a call of a function for
-- each fact that the walk comes by takes several times as long. A posting whose fact is not there is never passed over.
create or replace function factwire.walk_item(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_visits_max integer,
  out positions bigint[],
  out through bigint,
  out visits integer
)
language plpgsql
stable
as $$
declare
  v_drivers text[];
  v_residual boolean;
  v_tags text[] := p_tags;
  v_kinds_free constant boolean := cardinality(p_namespaces) = 0 and cardinality(p_types) = 0;
  v_low bigint := p_after;
  v_high bigint := p_until;
  v_chunk bigint[];
  v_chunk_max integer := least(1000, greatest(64, p_hits_max));
  v_edge bigint;
  v_missing integer;
begin
  positions := '{}';
  select c.drivers, c.residual, c.visits into v_drivers, v_residual, visits
    from factwire.choose_postings(
      p_namespaces, p_types, p_tags, p_after, p_until,
      greatest(1, least(1000, p_visits_max / (4 + cardinality(p_tags))))) c;

  if cardinality(v_drivers) = 1 then
    v_tags := array_remove(p_tags, v_drivers[1]);
  end if;

  -- At least one step is made, whatever choosing has cost: a walk that stood still would never end.
  while v_low < v_high loop
    v_missing := p_hits_max - cardinality(positions);
    v_chunk := factwire.next_postings(v_drivers, v_low, v_high, p_descending, v_chunk_max);
    visits := visits + cardinality(v_chunk) + coalesce(cardinality(v_drivers), 0);
    v_edge := case
      when cardinality(v_chunk) = v_chunk_max then v_chunk[v_chunk_max] - p_descending::int
      when p_descending then v_low
      else v_high
    end;
    if v_residual then
      v_chunk := array(
        select c.position
          from unnest(v_chunk) with ordinality c (position, place)
         where not exists (select from unnest(v_tags) t (tag) where not coalesce((
                 select r.position = c.position or r.position - c.position = any (r.earlier)
                   from factwire.fact_tags r
                  where r.tag = t.tag
                    and r.position >= c.position
                    and r.position < c.position + 1000
                  order by r.position
                  limit 1), false))
           and (v_kinds_free or coalesce(
                 (select (cardinality(p_namespaces) = 0 or f.namespace = any (p_namespaces))
                     and (cardinality(p_types) = 0 or f.type = any (p_types))
                    from factwire.facts f
                   where f.position = c.position), factwire.missing_fact(c.position)))
         order by c.place);
    end if;
    if cardinality(v_chunk) >= v_missing then
      v_chunk := v_chunk[1:v_missing];
      v_edge := v_chunk[v_missing] - p_descending::int;
    end if;
    positions := positions || v_chunk;
    if p_descending then
      v_high := v_edge;
    else
      v_low := v_edge;
    end if;
    exit when cardinality(positions) >= p_hits_max or visits >= p_visits_max;
    v_chunk_max := least(1000, v_chunk_max * 4);
  end loop;
  through := case when p_descending then v_high else v_low end;
end
$$;
