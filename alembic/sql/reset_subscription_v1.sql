-- Begin again behind a position. Every lease ends, and what is set aside comes again by the cursor if it is behind it.
-- Parked facts up to the position stay parked, and keep holding back the later facts of their keys; others up to it are
-- skipped, as everything is that lies before the position. Returns false if there is no subscription.
create function factwire.reset_subscription(p_subscription integer, p_position bigint) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_cursor factwire.subscription_cursors;
  v_before factwire.subscription_cursors;
  v_now timestamptz;
begin
  -- include subscription_begin_v1
  if v_cursor.subscription is null then
    return false;
  end if;
  -- An append may be acknowledging facts of one; see acknowledge_facts.
  perform from factwire.subscription_leases l where l.subscription = p_subscription order by l.lease for update;
  perform factwire.note_lost(l.subscription, l.lease, l.positions)
     from factwire.subscription_leases l where l.subscription = p_subscription;
  delete from factwire.subscription_leases l where l.subscription = p_subscription;
  delete from factwire.subscription_settled s where s.subscription = p_subscription;
  delete from factwire.subscription_aside a
   where a.subscription = p_subscription and (a.position > p_position or a.state <> 'parked');
  delete from factwire.subscription_open_keys o
   where o.subscription = p_subscription
     and not exists (select from factwire.subscription_aside a
                      where a.subscription = p_subscription and a.position = o.position);
  v_cursor.position := p_position;
  v_cursor.turn := 0;
  v_cursor.taken := 0;
  v_cursor.in_flight := 0;
  v_cursor.look_at := null;
  v_cursor.aside := (select count(*) from factwire.subscription_aside a where a.subscription = p_subscription);
  perform factwire.store_cursor(v_before, v_cursor);
  update factwire.subscriptions s
     set generation = s.generation + 1, revision = s.revision + 1
   where s.id = p_subscription;
  return true;
end
$$;
