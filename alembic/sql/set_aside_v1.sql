-- Set facts of a lease aside: those of p_parked are parked, all others held, or ready where they are the first open ones
-- in all their keys. p_dues has the time before which a fact must not come again, or null. What was in a lease that ran
-- out twice comes alone from then on: one of those facts may have killed its worker, and the others must not be parked
-- with it. Returns the cursor with the new counts; the caller stores it.
create function factwire.set_aside(
  p_cursor factwire.subscription_cursors,
  p_positions bigint[],
  p_attempts smallint[],
  p_dues timestamptz[],
  p_keys bigint[],
  p_key_positions bigint[],
  p_parked bigint[],
  p_ran_out boolean,
  p_reason text,
  p_worker text,
  p_now timestamptz
) returns factwire.subscription_cursors
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
  insert into factwire.subscription_aside
         (subscription, position, state, attempts, due, alone, keys, reason, worker, set_aside_at)
  select p_cursor.subscription, u.position, case when u.position = any (p_parked) then 'parked' else 'held' end, u.attempts,
         case when u.position <> all (p_parked) then u.due end, p_ran_out and u.attempts >= 2, coalesce(k.keys, '{}'),
         p_reason, p_worker, p_now
    from unnest(p_positions, p_attempts, p_dues) u (position, attempts, due)
    left join (select f.position, array_agg(f.key) as keys
                 from unnest(p_keys, p_key_positions) f (key, position)
                group by f.position) k on k.position = u.position;
  p_cursor.aside := p_cursor.aside + cardinality(p_positions);
  p_cursor.in_flight := p_cursor.in_flight - cardinality(p_positions);
  p_cursor.look_at := least(p_cursor.look_at, (select min(u.due) from unnest(p_dues) u (due)));
  p_cursor.turn := factwire.free_held(
    p_cursor.subscription, p_keys, array(select unnest(p_positions) except select unnest(p_key_positions)), p_cursor.turn,
    p_now);
  return p_cursor;
end
$$;
