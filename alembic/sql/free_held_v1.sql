-- Give a turn to each held fact that is now the first open one in all its keys. Looks at the first open fact of each of
-- p_keys, and at p_loose, facts without keys. One that is to wait for a time is delayed instead. Returns the last turn.
create function factwire.free_held(
  p_subscription integer,
  p_keys bigint[],
  p_loose bigint[],
  p_turn bigint,
  p_now timestamptz
) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_first bigint[];
  v_ready bigint[];
begin
  -- Limits keep the planner from turning look-ups into a walk over all that is open: see drop_open_keys.
  v_first := array(
    select a.position
      from (select n.position
              from (select distinct u.key from unnest(p_keys) u (key)) k
             cross join lateral (
                     select o.position from factwire.subscription_open_keys o
                      where o.subscription = p_subscription and o.key = k.key
                      order by o.position limit 1) n
             union
            select unnest(p_loose)) q
     cross join lateral (
             select s.position, s.keys from factwire.subscription_aside s
              where s.subscription = p_subscription and s.position = q.position and s.state = 'held'
              limit 1) a
     where not exists (
             select from unnest(a.keys) i (key)
              where (select o.position from factwire.subscription_open_keys o
                      where o.subscription = p_subscription and o.key = i.key
                      order by o.position limit 1) < a.position)
     order by a.position);
  if cardinality(v_first) = 0 then
    return p_turn;
  end if;
  update factwire.subscription_aside a
     set state = 'delayed'
   where a.subscription = p_subscription and a.position = any (v_first) and a.due > p_now;
  v_ready := array(
    select a.position from factwire.subscription_aside a
     where a.subscription = p_subscription and a.position = any (v_first) and a.state = 'held'
     order by a.position);
  update factwire.subscription_aside a
     set state = 'ready', turn = p_turn + array_position(v_ready, a.position), due = null
   where a.subscription = p_subscription and a.position = any (v_ready);
  return p_turn + cardinality(v_ready);
end
$$;
