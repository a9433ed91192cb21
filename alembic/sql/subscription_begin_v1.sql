-- Part of the functions that change a subscription, which include it: take its lock, then read its cursor.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception sqlstate 'FW002' using message = 'a subscription needs READ COMMITTED';
  end if;
  -- A statement of its own, so that the next one sees what the holder before has committed; see append_begin.
  perform pg_advisory_xact_lock(hashint8(l.lock_key), p_subscription) from factwire.log l;
  select * into v_cursor
    from factwire.subscription_cursors c where c.subscription = p_subscription order by c.seq desc limit 1;
  v_before := v_cursor;
  v_now := clock_timestamp();
