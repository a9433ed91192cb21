-- Release what was acknowledged within an append, which takes no lock of a subscription: see apply_effects.
-- Returns the cursor; the caller stores it.
create function factwire.release_settled(
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
  v_keys bigint[];
  v_positions bigint[];
  v_facts integer;
begin
  with gone as (
    delete from factwire.subscription_settled s
     where s.subscription = p_cursor.subscription
    returning s.keys, s.key_positions, s.facts
  )
  select array(select unnest(g.keys) from gone g), array(select unnest(g.key_positions) from gone g),
         (select sum(g.facts) from gone g)
    into v_keys, v_positions, v_facts;
  if v_facts is null then
    return p_cursor;
  end if;
  p_cursor.in_flight := p_cursor.in_flight - v_facts;
  perform factwire.drop_open_keys(p_cursor.subscription, v_keys, v_positions);
  if p_cursor.aside > 0 then
    p_cursor.turn := factwire.free_held(p_cursor.subscription, v_keys, '{}', p_cursor.turn, p_now);
  end if;
  return p_cursor;
end
$$;
