-- The time before which every fact is in activity, in whole seconds. It is read in steps, each with a snapshot of its own:
-- an append that is under way has a time already and becomes visible later. While it is not visible it holds the lock of
-- the log, so its time is not before the statement of a session that holds it now. If that is unknown (it is of another
-- role, or of the primary of a standby), no later time than that of the last counted fact is certain.
create function factwire.counted_until() returns timestamptz
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_until timestamptz := clock_timestamp();
  v_under_way timestamptz;
  v_holders bigint;
  v_known bigint;
begin
  select count(l.pid), count(a.query_start), min(a.query_start)
    into v_holders, v_known, v_under_way
    from factwire.log g
    join pg_locks l
      on l.locktype = 'advisory'
     and l.granted
     and l.database = (select d.oid from pg_database d where d.datname = current_database())
     and (l.classid::bigint << 32 | l.objid::bigint) = g.lock_key
     and l.objsubid = 1
    left join pg_stat_activity a on a.pid = l.pid;
  return date_trunc('second', (
    select coalesce(
             (select f.published_at from factwire.facts f where f.position > c.activity_through order by f.position limit 1),
             case when v_known = v_holders and not pg_is_in_recovery() then least(v_until, v_under_way) end,
             (select f.published_at from factwire.facts f where f.position = c.activity_through),
             '-infinity')
      from factwire.counted c));
end
$$;
