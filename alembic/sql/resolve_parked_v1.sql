-- Replay parked facts, or discard them (p_discard): those at p_positions, or all if that is null, at most 10 000 in one
-- call, the oldest first. A replayed fact has no attempts behind it, and comes in its order: behind earlier open facts of
-- its keys. `facts` is null if there is no subscription.
create function factwire.resolve_parked(
  p_subscription integer,
  p_positions bigint[],
  p_discard boolean,
  out facts integer
)
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
  v_parked bigint[];
  v_keys bigint[];
  v_key_positions bigint[];
begin
  -- include subscription_begin_v1
  if v_cursor.subscription is null then
    return;
  end if;
  if p_positions is null then
    v_parked := array(
      select a.position from factwire.subscription_aside a
       where a.subscription = p_subscription and a.state = 'parked' order by a.position limit 10000);
  else
    v_parked := array(
      select a.position from factwire.subscription_aside a
       where a.subscription = p_subscription and a.position = any (p_positions) and a.state = 'parked');
  end if;
  facts := cardinality(v_parked);
  select coalesce(array_agg(k.key), '{}'), coalesce(array_agg(a.position), '{}')
    into v_keys, v_key_positions
    from factwire.subscription_aside a
   cross join lateral unnest(a.keys) k (key)
   where a.subscription = p_subscription and a.position = any (v_parked);
  if p_discard then
    delete from factwire.subscription_aside a where a.subscription = p_subscription and a.position = any (v_parked);
    perform factwire.drop_open_keys(p_subscription, v_keys, v_key_positions);
    v_cursor.aside := v_cursor.aside - facts;
    v_parked := '{}';
  else
    update factwire.subscription_aside a
       set state = 'held', attempts = 0, alone = false, reason = null
     where a.subscription = p_subscription and a.position = any (v_parked);
  end if;
  v_cursor.turn := factwire.free_held(p_subscription, v_keys, v_parked, v_cursor.turn, v_now);
  perform factwire.store_cursor(v_before, v_cursor);
end
$$;
