-- Take back what was in leases that ran out, and give a turn to delayed facts that are due. Called when `look_at` is
-- over, which it then sets to the next such time. Returns the cursor; the caller stores it.
create function factwire.take_back(
  p_cursor factwire.subscription_cursors,
  p_now timestamptz
) returns factwire.subscription_cursors
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  c_leases_max constant integer := 100;  -- at once, so that the lock is held for a moment only
  c_due_max constant integer := 1000;
  v_subscription factwire.subscriptions;
  v_lease factwire.subscription_leases;
  v_leases integer := 0;
  v_due integer;
  v_spent bigint[];
begin
  select * into v_subscription from factwire.subscriptions s where s.id = p_cursor.subscription;
  for v_lease in
    delete from factwire.subscription_leases l
     where l.ctid = any (array(
             select x.ctid from factwire.subscription_leases x
              where x.subscription = p_cursor.subscription and x.until <= p_now
              limit c_leases_max))
       and l.until <= p_now
    returning l.*
  loop
    v_leases := v_leases + 1;
    v_spent := array(
      select u.position from unnest(v_lease.positions, v_lease.attempts) u (position, attempts)
       where u.attempts >= v_subscription.max_attempts);
    if cardinality(v_spent) > 0 and v_subscription.on_failure = 'pause' then
      perform factwire.fail_subscription(p_cursor.subscription, v_spent[1], 'the lease ran out');
      v_spent := '{}';
    end if;
    p_cursor := factwire.set_aside(
      p_cursor, v_lease.positions, v_lease.attempts, '{}', v_lease.keys,
      array(select v_lease.positions[k.place] from unnest(v_lease.key_places) with ordinality k (place, n) order by k.n),
      v_spent, true, 'the lease ran out', v_lease.worker, p_now);
    perform factwire.note_lost(p_cursor.subscription, v_lease.lease, v_lease.positions);
  end loop;
  with due as (
    select a.position, row_number() over (order by a.due, a.position) as n
      from factwire.subscription_aside a
     where a.subscription = p_cursor.subscription and a.due <= p_now and a.state = 'delayed'
     order by a.due, a.position
     limit c_due_max
  ), ready as (
    update factwire.subscription_aside a
       set state = 'ready', turn = p_cursor.turn + d.n, due = null
      from due d
     where a.subscription = p_cursor.subscription and a.position = d.position
    returning 1
  )
  select count(*) into v_due from ready;
  p_cursor.turn := p_cursor.turn + v_due;
  p_cursor.look_at := case
    when v_leases = c_leases_max or v_due = c_due_max then p_now
    else least(
      (select min(l.until) from factwire.subscription_leases l where l.subscription = p_cursor.subscription),
      (select min(a.due) from factwire.subscription_aside a
        where a.subscription = p_cursor.subscription and a.due > p_now))
  end;
  return p_cursor;
end
$$;
