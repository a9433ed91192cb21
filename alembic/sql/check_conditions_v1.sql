-- Find, for each request, a fact that violates its condition.
--
-- One row for each request whose condition fails or cannot be decided here. Outcomes: 'failed', with the position of a
-- matching fact; 'slow', if this condition alone exceeds p_work_max or p_deadline, with the place of the item in the
-- arrays at which it stopped (earlier items match nothing up to p_until) and the position that this item reached; 'again',
-- if the requests before it used up the call.
-- Most conditions protect something new. So one statement for all of them looks whether one of the first tags of an item,
-- or all of its first types, are absent after its p_after; if so, the item is not walked.
create function factwire.check_conditions(
  p_requests integer[],
  p_afters bigint[],
  p_scopes text[],
  p_types text[],
  p_tags text[],
  p_until bigint,
  p_work_max integer,
  p_deadline timestamptz
) returns table (request integer, outcome text, "position" bigint, place integer)
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
#variable_conflict use_column
declare
  v_size bigint;
  v_item record;
  v_walk record;
  v_decided integer := -1;
  v_request integer := -1;
  v_request_work integer := 0;
  v_call_work integer := 0;
begin
  select l.partition_facts into v_size from factwire.log l;
  for v_item in
    select c.*, string_to_array(c.types, e'\x1f') as type_list, string_to_array(c.tags, e'\x1f') as tag_list
      from unnest(p_requests, p_afters, p_scopes, p_types, p_tags) with ordinality c (request, after, scope, types, tags, place)
     cross join lateral (
             select c.after - c.after % v_size as "from", string_to_array(split_part(c.scope, e'\x1c', 1), e'\x1f') as bounds) b
     where not exists (
             select from unnest((string_to_array(c.tags, e'\x1f'))[:8]) t (tag)
              where not exists (
                      select from (
                        select r.tag
                          from factwire.fact_tags r
                         where r.tag >= t.tag || e'\x1d' || coalesce(b.bounds[1], '')
                           and r.tag < t.tag || e'\x1d' || coalesce(b.bounds[cardinality(b.bounds)], '~')
                           and r.position >= b."from"
                         order by r.tag, r.position
                         limit 1) n
                       where exists (select from factwire.fact_tags r where r.tag = n.tag and r.position > c.after)
                          or exists (
                               select from factwire.fact_tags r
                                where r.tag > n.tag
                                  and r.tag < t.tag || e'\x1d' || coalesce(b.bounds[cardinality(b.bounds)], '~')
                                  and r.position >= b."from")))
       and (c.types = ''
            or cardinality(string_to_array(c.types, e'\x1f')) > 8
            or exists (
                 select from unnest(string_to_array(c.types, e'\x1f')) t (type)
                  where exists (
                          select from factwire.fact_tags r where r.tag = 't:' || t.type and r.position > c.after)))
     order by c.place
  loop
    continue when v_item.request = v_decided;
    if v_item.request <> v_request then
      v_request := v_item.request;
      v_request_work := 0;
      if v_call_work >= p_work_max or (v_call_work > 0 and clock_timestamp() > p_deadline) then
        v_decided := v_request;
        return query select v_request, 'again', null::bigint, null::integer;
        continue;
      end if;
    end if;
    v_walk := factwire.walk_item(
      v_item.scope, v_item.type_list, v_item.tag_list, v_item.after, p_until, false, 1,
      greatest(1, p_work_max - v_request_work), p_deadline, 0, 0);
    v_request_work := v_request_work + v_walk.work;
    v_call_work := v_call_work + v_walk.work;
    if cardinality(v_walk.positions) > 0 then
      v_decided := v_request;
      return query select v_request, 'failed', v_walk.positions[1], null::integer;
    elsif v_walk.through < p_until then
      v_decided := v_request;
      return query select v_request, 'slow', v_walk.through, v_item.place::integer;
    end if;
  end loop;
end
$$;
