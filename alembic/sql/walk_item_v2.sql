-- Walk the log along one item of a query and return the matching positions, in walking order.
--
-- A fact has all of p_tags, and one of p_any unless that is empty.
-- Walks (p_after, p_until] upwards, or downwards if p_descending, until p_hits_max positions are found, about p_work_max
-- probes, postings and facts were read, or p_deadline has passed. `through` is the position reached: every match of
-- (p_after, through], or of (through, p_until] if descending, is in `positions`.
-- With p_grid the reader may not read everything that the walk passes. Where it passes facts of other namespaces, their
-- cost must not show in the place where it ends: it covers at most p_window positions, whatever is there, and earlier
-- it ends only at its last match or at a multiple of p_grid positions from its start. If the deadline ends it before the
-- first of these, `through` has not moved.
-- The caller pins the plans (generic, no sequential scans, no hash or merge joins).
create function factwire.walk_item(
  p_scope text,
  p_types text[],
  p_tags text[],
  p_any text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_work_max integer,
  p_deadline timestamptz,
  p_grid integer,
  p_window bigint,
  out positions bigint[],
  out through bigint,
  out work integer
)
language plpgsql
stable
as $$
declare
  v_scope record;
  v_way record;
  v_low bigint := p_after;
  v_high bigint := p_until;
  v_chunk bigint[];
  v_chunk_max integer;
  v_chunk_limit integer;
  v_edge bigint;
  v_visits integer;
  v_missing integer;
  v_on_grid boolean;
  v_filters_any boolean := false;
  v_filters integer;
begin
  positions := '{}';
  v_scope := factwire.parse_scope(p_scope);
  if p_any = '{}' then
    v_way := factwire.choose_lists(
      v_scope.bounds, v_scope.spaces, v_scope.exact, p_types, p_tags, p_after, p_until, p_work_max,
      greatest(1, least(100, p_work_max / 16)));
  else
    v_way := factwire.choose_lists_of_any(
      v_scope.bounds, v_scope.spaces, v_scope.exact, p_types, p_tags, p_any, p_after, p_until, p_work_max,
      greatest(cardinality(p_any), least(400, p_work_max / 16)));
    v_filters_any := v_way.filters_any;
  end if;
  work := v_way.work;
  if v_way.lists = '{}' then
    through := case when p_descending then p_after else p_until end;
    return;
  end if;
  v_on_grid := p_grid > 0 and v_way.bounds is not null;
  if v_on_grid and p_descending then
    v_low := greatest(v_low, p_until - p_window);
  elsif v_on_grid then
    v_high := least(v_high, p_after + p_window);
  end if;
  v_filters := cardinality(v_way.tags) + case when v_filters_any then cardinality(p_any) else 0 end;
  v_chunk_limit := greatest(1, least(case when v_way.lists is null then 4000 else 1000 end,
                                     4000 / (1 + v_filters), p_work_max));
  v_chunk_max := least(v_chunk_limit, greatest(64, p_hits_max));

  -- At least one step is made, whatever the cost of choosing: a walk without progress would never end.
  while v_low < v_high loop
    v_missing := p_hits_max - cardinality(positions);
    if v_way.lists is null then
      v_edge := case when p_descending then greatest(v_low, v_high - v_chunk_max)
                     else least(v_high, v_low + v_chunk_max) end;
      v_chunk := factwire.scan_log(
        v_way.bounds, v_way.types, case when p_descending then v_edge else v_low end,
        case when p_descending then v_high else v_edge end, p_descending);
      work := work + v_chunk_max * (4 + coalesce(cardinality(v_way.types) / 8, 0)) / 16;
      if v_way.tags <> '{}' then
        select k.positions, k.visits into v_chunk, v_visits
          from factwire.keep_matching(v_chunk, null, null, v_way.tags) k;
        work := work + v_visits;
      end if;
    else
      select n.positions, n.edge, n.visits into v_chunk, v_edge, v_visits
        from factwire.next_postings(v_way.lists, v_low, v_high, p_descending, v_chunk_max) n;
      work := work + v_visits;
      if v_way.tags <> '{}' or v_way.types is not null or v_way.bounds is not null then
        select k.positions, k.visits into v_chunk, v_visits
          from factwire.keep_matching(v_chunk, v_way.bounds, v_way.types, v_way.tags) k;
        work := work + v_visits;
      end if;
    end if;
    if v_filters_any then
      select k.positions, k.visits into v_chunk, v_visits from factwire.keep_any(v_chunk, p_any) k;
      work := work + v_visits;
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
    exit when cardinality(positions) >= p_hits_max
           or (work >= p_work_max and not v_on_grid)
           or clock_timestamp() > p_deadline;
    v_chunk_max := least(v_chunk_limit, v_chunk_max * 4);
  end loop;
  through := case when p_descending then v_high else v_low end;
  if v_on_grid and cardinality(positions) < p_hits_max then
    through := case
      when p_descending and through > p_after then
        least(p_until - (p_until - through) / p_grid * p_grid, positions[cardinality(positions)] - 1)
      when not p_descending and through < p_until then
        greatest(p_after + (through - p_after) / p_grid * p_grid, positions[cardinality(positions)])
      else through
    end;
  end if;
end
$$;
