-- Extend leases to p_seconds from now, or the time-out of the subscription if that is null; none becomes shorter. `lost`
-- are those that have ended. A lease that has run out, and was not taken back yet, is extended: nobody else has its facts.
create function factwire.extend_leases(
  p_subscription integer,
  p_leases bigint[],
  p_seconds double precision,
  out until timestamptz,
  out lost bigint[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_extended bigint[];
begin
  until := clock_timestamp() + make_interval(secs => coalesce(
    p_seconds, (select s.ack_timeout_seconds from factwire.subscriptions s where s.id = p_subscription)));
  perform from factwire.subscription_leases l
    where l.subscription = p_subscription and l.lease = any (p_leases)
    order by l.lease for update;
  with extended as (
    update factwire.subscription_leases l
       set until = greatest(l.until, extend_leases.until)
     where l.subscription = p_subscription and l.lease = any (p_leases)
    returning l.lease
  )
  select array(select e.lease from extended e) into v_extended;
  lost := array(select distinct u.lease from unnest(p_leases) u (lease) where u.lease <> all (v_extended));
end
$$;
