-- Acknowledge facts of a subscription and claim others, for all workers of a process in one call: acknowledgements first.
--
-- The candidates are the facts of (p_after, p_through] that match the query of the subscription, read by the process
-- without any lock, since facts do not change: their positions, and the keys of each with its place among them. A key is
-- a hash of an aggregate id. A fact is granted if nothing before it with one of its keys is open, unless that is in the
-- same claim; otherwise it is held, and holds back later facts with any of its keys. `ordering: all` is one key for all
-- facts, and nothing is held: the cursor stops before the first fact that must wait.
-- Nothing is granted if the process knows another revision of the subscription, or another epoch, than there is now: its
-- candidates may be those of another query, or of a history that was lost. p_witness_* is the newest fact that the process
-- has read, not before a candidate: if another fact is there, `forked` is true, and nothing is granted. Otherwise the
-- cursor would pass facts that are published in place of the lost ones. `revision` is null if there is no subscription.
-- The lists of granted facts have one entry for each: position, place of its claim, attempt. The result has no bodies, so
-- that it is smaller than a socket's buffer: a process that stalls must not keep the lock.
create function factwire.claim_facts(
  p_subscription integer,
  p_revision integer,
  p_epoch integer,
  p_witness_position bigint,
  p_witness_id uuid,
  p_aside_max integer,
  p_ack_leases bigint[],
  p_ack_positions bigint[],
  p_claim_leases bigint[],
  p_claim_limits integer[],
  p_claim_workers text[],
  p_after bigint,
  p_through bigint,
  p_positions bigint[],
  p_keys bigint[],
  p_key_places integer[],
  out revision integer,
  out epoch integer,
  out forked boolean,
  out seq bigint,
  out "position" bigint,
  out ready bigint,
  out open bigint,
  out limited boolean,
  out until timestamptz,
  out lost_leases bigint[],
  out lost_positions bigint[],
  out early_leases bigint[],
  out early_positions bigint[],
  out granted bigint[],
  out granted_claims integer[],
  out granted_attempts integer[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_cursor factwire.subscription_cursors;
  v_before factwire.subscription_cursors;
  v_now timestamptz;
  v_subscription factwire.subscriptions;
  v_acknowledged record;
  v_granted record;
begin
  -- include subscription_begin_v1
  if v_cursor.subscription is null then
    return;
  end if;
  if exists (select from factwire.subscription_settled s where s.subscription = p_subscription) then
    v_cursor := factwire.release_settled(v_cursor, v_now);
  end if;
  if cardinality(p_ack_leases) > 0 then
    select * into v_acknowledged from factwire.acknowledge_facts(v_cursor, p_ack_leases, p_ack_positions);
    lost_leases := v_acknowledged.lost_leases;
    lost_positions := v_acknowledged.lost_positions;
    early_leases := v_acknowledged.early_leases;
    early_positions := v_acknowledged.early_positions;
    v_cursor.in_flight := v_cursor.in_flight - v_acknowledged.facts;
    if v_cursor.aside > 0 then
      v_cursor.turn := factwire.free_held(p_subscription, v_acknowledged.keys, '{}', v_cursor.turn, v_now);
    end if;
  end if;
  -- After the acknowledgements: one that comes late counts, as long as the fact was not taken back.
  if v_cursor.look_at <= v_now then
    v_cursor := factwire.take_back(v_cursor, v_now);
  end if;

  select * into v_subscription from factwire.subscriptions s where s.id = p_subscription;
  revision := v_subscription.revision;
  select l.epoch, l.forked_at is not null
                  or (l.epoch = p_epoch and coalesce(p_witness_position > l.floor, false)
                      and not exists (select from factwire.facts f
                                       where f.position = p_witness_position and f.id = p_witness_id))
    into epoch, forked
    from factwire.log l;
  limited := false;
  if cardinality(p_claim_leases) > 0 and v_subscription.paused_at is null and (revision, epoch, forked) = (p_revision, p_epoch, false) then
    select * into v_granted
      from factwire.grant_facts(
        v_cursor, v_subscription.in_flight_max,
        case v_subscription.ordering when 'all' then 0 else p_aside_max end,
        v_now + make_interval(secs => v_subscription.ack_timeout_seconds), p_claim_leases, p_claim_limits,
        p_claim_workers, p_after, p_through, p_positions, p_keys, p_key_places);
    v_cursor.position := v_granted.reached;
    v_cursor.taken := v_granted.taken;
    v_cursor.aside := v_granted.aside;
    limited := v_granted.limited;
    granted := v_granted.granted;
    granted_claims := v_granted.granted_claims;
    granted_attempts := v_granted.granted_attempts;
    v_cursor.in_flight := v_cursor.in_flight + cardinality(granted);
    if cardinality(granted) > 0 then
      until := v_now + make_interval(secs => v_subscription.ack_timeout_seconds);
      v_cursor.look_at := least(v_cursor.look_at, until);
    end if;
  end if;
  perform factwire.store_cursor(v_before, v_cursor);
  seq := v_before.seq + (v_cursor is distinct from v_before)::integer;
  position := v_cursor.position;
  ready := v_cursor.turn - v_cursor.taken;
  open := v_cursor.in_flight + v_cursor.aside;
end
$$;
