-- Search for facts that match the items of one condition, each after its own position and up to the head, without the lock.
--
-- Items are as check_conditions takes them. `match` is the position of a fact that matches an item that none may match,
-- and `place` the place of that item. Otherwise `throughs` are the positions that the items reached, which for those in
-- `matched` are positions of facts that match, as one must; and `ids` are those of the facts there: they prove later that
-- history up to them has not been replaced. If p_ids are not the ids of the facts at p_afters, it has been: nothing is
-- searched, and `continues` is false. Items share p_work_max and p_seconds in order.
create function factwire.search_condition(
  p_scopes text[],
  p_types text[],
  p_tags text[],
  p_afters bigint[],
  p_ids uuid[],
  p_work_max integer,
  p_seconds double precision,
  out match bigint,
  out place integer,
  out throughs bigint[],
  out matched boolean[],
  out ids uuid[],
  out head bigint,
  out epoch integer,
  out continues boolean
)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_deadline constant timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
  v_work integer := 0;
  v_walk record;
  v_must_match boolean;
begin
  head := factwire.head();
  select l.epoch into epoch from factwire.log l;
  throughs := p_afters;
  matched := array(
    select split_part(t.tags, e'\x1c', 3) = '+' from unnest(p_tags) with ordinality t (tags, place) order by t.place);
  continues := not exists (
    select from unnest(p_afters, p_ids) s (after, id)
     where s.id is not null
       and s.id is distinct from (select f.id from factwire.facts f where f.position = s.after));
  if not continues then
    return;
  end if;
  for v_item in 1 .. cardinality(p_afters) loop
    continue when matched[v_item];
    v_must_match := split_part(p_tags[v_item], e'\x1c', 3) = '!';
    v_walk := factwire.walk_item(
      p_scopes[v_item], string_to_array(p_types[v_item], e'\x1f'),
      string_to_array(split_part(p_tags[v_item], e'\x1c', 1), e'\x1f'),
      string_to_array(split_part(p_tags[v_item], e'\x1c', 2), e'\x1f'),
      p_afters[v_item], greatest(head, p_afters[v_item]), false, 1, greatest(1, p_work_max - v_work), v_deadline, 0, 0);
    throughs[v_item] := v_walk.through;
    v_work := v_work + v_walk.work;
    if cardinality(v_walk.positions) > 0 and v_must_match then
      throughs[v_item] := v_walk.positions[1];
      matched[v_item] := true;
    elsif cardinality(v_walk.positions) > 0 then
      match := v_walk.positions[1];
      place := v_item;
    end if;
    exit when match is not null or v_work >= p_work_max or clock_timestamp() > v_deadline;
  end loop;
  ids := array(
    select (select f.id from factwire.facts f where f.position = t.through)
      from unnest(throughs) with ordinality t (through, place)
     order by t.place);
end
$$;
