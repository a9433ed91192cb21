-- The requests whose conditions do not allow them to be appended after p_head, except those already refused.
--
-- A cursor of an older epoch is good up to every fork since, as in reads; above, its request is 'forked', with the position
-- up to which it would be good.
-- p_ids are the ids of the facts at p_afters, if an item was searched up to there without the lock. If another fact is
-- there, the search restarts ('restarted'): a history that was replaced without notice keeps its epoch.
create or replace function factwire.refuse_conditions(
  p_requests integer[],
  p_epochs integer[],
  p_afters bigint[],
  p_ids uuid[],
  p_scopes text[],
  p_types text[],
  p_tags text[],
  p_refused integer[],
  p_epoch integer,
  p_head bigint,
  p_work_max integer,
  p_seconds double precision
) returns table (request integer, outcome text, "position" bigint, place integer)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  select distinct on (r.request) r.request, r.outcome, r.position, r.place
    from (select c.request, 'forked' as outcome,
                 (select min(e.forked_after) from factwire.epochs e where e.epoch > c.epoch) as position,
                 null::integer as place, 0 as rank
            from unnest(p_requests, p_epochs, p_afters) c (request, epoch, after)
           where c.epoch > p_epoch
              or (c.epoch not in (0, p_epoch)
                  and c.after > (select min(e.forked_after) from factwire.epochs e where e.epoch > c.epoch))
           union all
          select c.request, 'ahead', p_head, null, 1
            from unnest(p_requests, p_afters) c (request, after)
           where c.after > p_head
           union all
          select c.request, 'restarted', null, null, 2
            from unnest(p_requests, p_afters, p_ids) c (request, after, id)
           where c.id is not null
             and c.id is distinct from (select f.id from factwire.facts f where f.position = c.after)
           union all
          select c.request, c.outcome, c.position, c.place, 3
            from factwire.check_conditions(
              p_requests, p_afters, p_scopes, p_types, p_tags, p_head, p_work_max,
              clock_timestamp() + make_interval(secs => p_seconds)) c) r
   where r.request <> all (p_refused)
   order by r.request, r.rank;
end
$$;
