-- Part of claim_facts: grant facts to claims, first those that are ready again, then candidates. `reached` is the new
-- position of the cursor, `taken` the last turn that was taken, and `aside` the number of facts that are set aside.
-- `limited` is true if facts were kept back by p_in_flight_max or by p_aside_max.
create function factwire.grant_facts(
  p_cursor factwire.subscription_cursors,
  p_in_flight_max integer,
  p_aside_max integer,
  p_until timestamptz,
  p_claim_leases bigint[],
  p_claim_limits integer[],
  p_claim_workers text[],
  p_after bigint,
  p_through bigint,
  p_positions bigint[],
  p_keys bigint[],
  p_key_places integer[],
  out reached bigint,
  out taken bigint,
  out aside integer,
  out limited boolean,
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
  v_subscription constant integer := p_cursor.subscription;
  v_count constant integer := cardinality(p_positions);
  v_key_count constant integer := cardinality(p_keys);
  v_place integer := 1;  -- of the next candidate
  v_key integer := 1;    -- of the first of its keys
  v_from integer;
  v_own_keys bigint[];
  v_room integer := p_in_flight_max - p_cursor.in_flight;
  v_missing integer;
  v_again record;
  v_blocked bigint[] := '{}';  -- keys of facts that were open before this call, or are held since
  v_others bigint[] := '{}';   -- keys that earlier claims of this call were granted
  v_positions bigint[];        -- of one claim, with its attempts, keys, and the places of the facts that they belong to
  v_attempts smallint[];
  v_keys bigint[];
  v_key_places smallint[];
  v_new_from integer;
  v_held bigint[] := '{}';
  v_held_from integer[] := '{}';
  v_held_to integer[] := '{}';
  v_open_keys bigint[] := '{}';
  v_open_positions bigint[] := '{}';
begin
  reached := p_cursor.position;
  taken := p_cursor.taken;
  aside := p_cursor.aside;
  limited := false;
  granted := '{}';
  granted_claims := '{}';
  granted_attempts := '{}';
  if p_after > reached then
    v_place := v_count + 1;  -- the cursor was set back: there may be matches before these candidates
    p_through := reached;
  elsif p_after < reached then
    while v_place <= v_count and p_positions[v_place] <= reached loop  -- another process has passed these
      v_place := v_place + 1;
    end loop;
    while v_key <= v_key_count and p_key_places[v_key] < v_place loop
      v_key := v_key + 1;
    end loop;
  end if;
  if v_key <= v_key_count and v_place <= v_count then
    v_blocked := array(
      select k.key from (select distinct u.key from unnest(p_keys[v_key:]) u (key)) k
       cross join lateral (
               select from factwire.subscription_open_keys o
                where o.subscription = v_subscription and o.key = k.key limit 1) o);
  end if;

  for v_claim in 1 .. cardinality(p_claim_leases) loop
    v_positions := '{}';
    v_attempts := '{}';
    v_keys := '{}';
    v_key_places := '{}';
    v_missing := least(p_claim_limits[v_claim], v_room);
    if p_cursor.turn > taken and v_missing > 0 then
      for v_again in
        with next as (
          select a.position, a.turn, a.alone, row_number() over (order by a.turn) as n
            from factwire.subscription_aside a
           where a.subscription = v_subscription and a.state = 'ready' and a.turn > taken
           order by a.turn
           limit v_missing
        ), gone as (
          delete from factwire.subscription_aside a
           where a.subscription = v_subscription
             and a.position = any (array(
                   select t.position from next t
                    where t.n < coalesce((select min(o.n) from next o where o.alone), v_missing + 1)
                       or t.n = 1))
          returning a.position, a.turn, a.attempts, a.alone, a.keys
        )
        select g.* from gone g order by g.turn
      loop
        v_positions := v_positions || v_again.position;
        v_attempts := v_attempts || (v_again.attempts + 1)::smallint;
        v_keys := v_keys || v_again.keys;
        v_key_places := v_key_places
          || array_fill(cardinality(v_positions)::smallint, array[cardinality(v_again.keys)]);
        taken := v_again.turn;
        aside := aside - 1;
        v_missing := v_missing - 1;
      end loop;
      -- A fact that comes alone, and what stands before one, is a claim of its own.
      if v_again.alone or p_cursor.turn > taken then
        v_missing := 0;
      end if;
    end if;
    v_new_from := cardinality(v_keys) + 1;
    while v_missing > 0 and v_place <= v_count loop
      v_from := v_key;
      while v_key <= v_key_count and p_key_places[v_key] = v_place loop
        v_key := v_key + 1;
      end loop;
      v_own_keys := p_keys[v_from : v_key - 1];
      if v_own_keys && v_blocked or v_own_keys && v_others then
        if aside + cardinality(v_held) >= p_aside_max then
          limited := p_aside_max > 0;
          v_key := v_from;
          exit;
        end if;
        v_blocked := v_blocked || v_own_keys;
        v_held := v_held || p_positions[v_place];
        v_held_from := v_held_from || v_from;
        v_held_to := v_held_to || (v_key - 1);
      else
        v_positions := v_positions || p_positions[v_place];
        v_attempts := v_attempts || 1::smallint;
        v_keys := v_keys || v_own_keys;
        v_key_places := v_key_places || array_fill(cardinality(v_positions)::smallint, array[cardinality(v_own_keys)]);
        v_open_keys := v_open_keys || v_own_keys;
        v_open_positions := v_open_positions || array_fill(p_positions[v_place], array[cardinality(v_own_keys)]);
        v_missing := v_missing - 1;
      end if;
      reached := p_positions[v_place];
      v_place := v_place + 1;
    end loop;
    v_others := v_others || v_keys[v_new_from:];
    if cardinality(v_positions) > 0 then
      insert into factwire.subscription_leases
             (subscription, lease, worker, until, positions, attempts, keys, key_places)
      values (v_subscription, p_claim_leases[v_claim], p_claim_workers[v_claim], p_until, v_positions, v_attempts, v_keys,
              v_key_places);
      granted := granted || v_positions;
      granted_claims := granted_claims || array_fill(v_claim, array[cardinality(v_positions)]);
      granted_attempts := granted_attempts || v_attempts::integer[];
      v_room := v_room - cardinality(v_positions);
    end if;
  end loop;
  if v_place > v_count then
    reached := greatest(reached, p_through);
  end if;
  limited := limited or (v_room <= 0 and (v_place <= v_count or p_cursor.turn > taken));
  if cardinality(v_held) > 0 then
    insert into factwire.subscription_aside (subscription, position, state, attempts, alone, keys)
    select v_subscription, u.position, 'held', 0, false, p_keys[u.first_key : u.last_key]
      from unnest(v_held, v_held_from, v_held_to) u (position, first_key, last_key);
    insert into factwire.subscription_open_keys (subscription, key, position)
    select v_subscription, p_keys[k.place], u.position
      from unnest(v_held, v_held_from, v_held_to) u (position, first_key, last_key)
     cross join lateral generate_series(u.first_key, u.last_key) k (place);
    aside := aside + cardinality(v_held);
  end if;
  insert into factwire.subscription_open_keys (subscription, key, position)
  select v_subscription, u.key, u.position from unnest(v_open_keys, v_open_positions) u (key, position);
end
$$;
