-- Return facts of leases, given as pairs of lease and position: to be parked (p_park), to come again after a time, or, if
-- p_released, at once and as if they had not been claimed. p_delay_seconds null is the backoff of the subscription. A fact
-- whose attempts are used up is parked, or pauses the subscription. Later facts of the same lease that share a key,
-- directly or through others, go back as well, and that is no attempt at them. `parked` of the returned facts are parked;
-- `lost` are the pairs whose lease has ended, `withdrawn` those that went back because of others. `revision` is null if
-- there is no subscription.
create function factwire.return_facts(
  p_subscription integer,
  p_leases bigint[],
  p_positions bigint[],
  p_park boolean,
  p_released boolean,
  p_delay_seconds double precision,
  p_reason text,
  out revision integer,
  out returned integer,
  out parked integer,
  out lost_leases bigint[],
  out lost_positions bigint[],
  out withdrawn_leases bigint[],
  out withdrawn_positions bigint[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_cursor factwire.subscription_cursors;
  v_before factwire.subscription_cursors;
  v_now timestamptz;
  v_subscription factwire.subscriptions;
  v_asked record;
  v_lease factwire.subscription_leases;
  v_lost bigint[];
  v_back bigint[];      -- what goes back, in order, with its attempts and the times before which it must not come again
  v_attempts smallint[];
  v_dues timestamptz[];
  v_spent bigint[];
  v_cut record;
begin
  -- include subscription_begin_v1
  if v_cursor.subscription is null then
    return;
  end if;
  select * into v_subscription from factwire.subscriptions s where s.id = p_subscription;
  returned := 0;
  parked := 0;
  lost_leases := '{}';
  lost_positions := '{}';
  withdrawn_leases := '{}';
  withdrawn_positions := '{}';
  if exists (select from factwire.subscription_settled s where s.subscription = p_subscription) then
    v_cursor := factwire.release_settled(v_cursor, v_now);
  end if;
  perform from factwire.subscription_leases l
    where l.subscription = p_subscription and l.lease = any (p_leases)
    order by l.lease for update;
  for v_asked in
    select u.lease, array_agg(distinct u.position) as positions
      from unnest(p_leases, p_positions) u (lease, position)
     group by u.lease
  loop
    select * into v_lease
      from factwire.subscription_leases l where l.subscription = p_subscription and l.lease = v_asked.lease;
    v_lost := array(
      select u.position from unnest(v_asked.positions) u (position)
       where v_lease.lease is null or u.position <> all (v_lease.positions));
    lost_leases := lost_leases || array_fill(v_asked.lease, array[cardinality(v_lost)]);
    lost_positions := lost_positions || v_lost;
    v_back := factwire.returning_with(v_lease, v_asked.positions);
    continue when v_lease.lease is null or cardinality(v_back) = 0;
    select array_agg((u.attempts - (p_released or u.position <> all (v_asked.positions))::integer)::smallint order by u.n),
           array_agg(case when p_released or p_park or u.position <> all (v_asked.positions) then null
                          else v_now + make_interval(secs => coalesce(
                                 p_delay_seconds,
                                 least(v_subscription.backoff_most_seconds,
                                       v_subscription.backoff_first_seconds
                                         * power(v_subscription.backoff_factor, least(u.attempts, 64) - 1)))) end
                     order by u.n),
           coalesce(array_agg(u.position) filter (
             where u.position = any (v_asked.positions)
               and (p_park or (not p_released and u.attempts >= v_subscription.max_attempts))), '{}')
      into v_attempts, v_dues, v_spent
      from unnest(v_lease.positions, v_lease.attempts) with ordinality u (position, attempts, n)
     where u.position = any (v_back);
    if cardinality(v_spent) > 0 and not p_park and v_subscription.on_failure = 'pause' then
      perform factwire.fail_subscription(p_subscription, v_spent[1], p_reason);
      v_spent := '{}';
    end if;
    select * into v_cut from factwire.cut_lease(v_lease, v_back);
    v_cursor := factwire.set_aside(
      v_cursor, v_back, v_attempts, v_dues, v_cut.keys, v_cut.key_positions, v_spent, false, p_reason, v_lease.worker,
      v_now);
    perform factwire.note_lost(p_subscription, v_asked.lease, v_back);
    v_lost := array(select u.position from unnest(v_back) u (position) where u.position <> all (v_asked.positions));
    withdrawn_leases := withdrawn_leases || array_fill(v_asked.lease, array[cardinality(v_lost)]);
    withdrawn_positions := withdrawn_positions || v_lost;
    parked := parked + cardinality(v_spent);
    returned := returned + cardinality(v_back) - cardinality(v_lost);
  end loop;
  revision := (select s.revision from factwire.subscriptions s where s.id = p_subscription);
  perform factwire.store_cursor(v_before, v_cursor);
end
$$;
