-- Find, for each request, an item of its condition that does not hold.
--
-- p_tags are as walk_query takes them. Behind them and another U+001C is '!' if a fact must match the item, and '+' if one
-- was found: that item holds. No fact may match any other item.
-- One row for each request whose condition fails or cannot be decided here, with the place of the item in the arrays.
-- Outcomes: 'failed', with the position of a matching fact, or null if a fact must match and none does; 'slow', if this
-- condition alone exceeds p_work_max or p_deadline, with the position that the item reached (all items before hold up to
-- p_until); 'again', if the requests before it used up the call.
-- Most conditions protect something new. So one statement for all of them looks whether one of the first tags of an item,
-- or all of its first types, are absent after its p_after; if so, the item is not walked. The more items a call has, the
-- fewer of their tags and types are looked up.
-- Between the items of one condition the deadline counts only where many facts are left: a condition that was searched
-- without the lock must be decided when it returns.
create or replace function factwire.check_conditions(
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
  v_first constant integer := greatest(1, least(8, 2000 / greatest(1, cardinality(p_requests))));
  v_item record;
  v_walk record;
  v_decided integer := -1;
  v_request integer := -1;
  v_request_work integer := 0;
  v_call_work integer := 0;
begin
  select l.partition_facts into v_size from factwire.log l;
  for v_item in
    select i.*,
           not exists (
             select from unnest(i.tag_list[:v_first]) t (tag)
              where not exists (
                      select from (
                        select r.tag
                          from factwire.fact_tags r
                         where r.tag >= t.tag || e'\x1d' || coalesce(i.bounds[1], '')
                           and r.tag < t.tag || e'\x1d' || coalesce(i.bounds[cardinality(i.bounds)], '~')
                           and r.position >= i."from"
                         order by r.tag, r.position
                         limit 1) n
                       where exists (select from factwire.fact_tags r where r.tag = n.tag and r.position > i.after)
                          or exists (
                               select from factwire.fact_tags r
                                where r.tag > n.tag
                                  and r.tag < t.tag || e'\x1d' || coalesce(i.bounds[cardinality(i.bounds)], '~')
                                  and r.position >= i."from")))
           and (cardinality(i.type_list) not between 1 and v_first
                or exists (
                     select from unnest(i.type_list) t (type)
                      where exists (
                              select from factwire.fact_tags r where r.tag = 't:' || t.type and r.position > i.after)))
             as may_match
      from (select c.request, c.after, c.scope, c.place, c.after - c.after % v_size as "from",
                   string_to_array(split_part(c.scope, e'\x1c', 1), e'\x1f') as bounds,
                   string_to_array(c.types, e'\x1f') as type_list,
                   string_to_array(split_part(c.tags, e'\x1c', 1), e'\x1f') as tag_list,
                   string_to_array(split_part(c.tags, e'\x1c', 2), e'\x1f') as any_list,
                   split_part(c.tags, e'\x1c', 3) = '!' as must_match
              from unnest(p_requests, p_afters, p_scopes, p_types, p_tags) with ordinality
                     c (request, after, scope, types, tags, place)
             where split_part(c.tags, e'\x1c', 3) <> '+') i
     order by i.place
  loop
    continue when v_item.request = v_decided or not (v_item.may_match or v_item.must_match);
    if v_item.request <> v_request then
      v_request := v_item.request;
      v_request_work := 0;
      if v_call_work >= p_work_max or (v_call_work > 0 and clock_timestamp() > p_deadline) then
        v_decided := v_request;
        return query select v_request, 'again', null::bigint, null::integer;
        continue;
      end if;
    elsif v_request_work > 0 and p_until - v_item.after > 200 and clock_timestamp() > p_deadline then
      v_decided := v_request;
      return query select v_request, 'slow', v_item.after, v_item.place::integer;
      continue;
    end if;
    if not v_item.may_match then
      v_decided := v_request;
      return query select v_request, 'failed', null::bigint, v_item.place::integer;
      continue;
    end if;
    v_walk := factwire.walk_item(
      v_item.scope, v_item.type_list, v_item.tag_list, v_item.any_list, v_item.after, p_until, false, 1,
      greatest(1, p_work_max - v_request_work), p_deadline, 0, 0);
    v_request_work := v_request_work + v_walk.work;
    v_call_work := v_call_work + v_walk.work;
    if cardinality(v_walk.positions) > 0 then
      if not v_item.must_match then
        v_decided := v_request;
        return query select v_request, 'failed', v_walk.positions[1], v_item.place::integer;
      end if;
    elsif v_walk.through < p_until then
      v_decided := v_request;
      return query select v_request, 'slow', v_walk.through, v_item.place::integer;
    elsif v_item.must_match then
      v_decided := v_request;
      return query select v_request, 'failed', null::bigint, v_item.place::integer;
    end if;
  end loop;
end
$$;
