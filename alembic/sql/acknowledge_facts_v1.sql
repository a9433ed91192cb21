-- Acknowledge facts of leases, given as pairs of lease and position. `lost` are the pairs that are not in their lease any
-- more, for another reason than an acknowledgement, and `early` those that disordered() names; all others are done.
-- `facts` counts those that were open until now, and `keys` are theirs; the caller gives turns to the facts behind them.
create function factwire.acknowledge_facts(
  p_cursor factwire.subscription_cursors,
  p_leases bigint[],
  p_positions bigint[],
  out facts integer,
  out keys bigint[],
  out lost_leases bigint[],
  out lost_positions bigint[],
  out early_leases bigint[],
  out early_positions bigint[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_asked record;
  v_lease factwire.subscription_leases;
  v_positions bigint[];
  v_early bigint[];
  v_lost bigint[];
  v_cut record;
begin
  facts := 0;
  keys := '{}';
  lost_leases := '{}';
  lost_positions := '{}';
  early_leases := '{}';
  early_positions := '{}';
  -- A statement of its own: an append may be acknowledging facts of the same lease. Rows that are read below are then
  -- those that it has left, which a statement that began before would not see.
  perform from factwire.subscription_leases l
    where l.subscription = p_cursor.subscription and l.lease = any (p_leases)
    order by l.lease for update;
  for v_asked in
    select u.lease, array_agg(distinct u.position) as positions
      from unnest(p_leases, p_positions) u (lease, position)
     group by u.lease
  loop
    select * into v_lease
      from factwire.subscription_leases l where l.subscription = p_cursor.subscription and l.lease = v_asked.lease;
    if v_lease.lease is null or not v_lease.positions @> v_asked.positions then
      -- An acknowledgement that is repeated is answered as before. A fact that left the lease otherwise is noted, and
      -- one that is set aside or in another lease, or that was never reached, was not acknowledged.
      v_lost := array(
        select u.position
          from unnest(v_asked.positions) u (position)
         where (v_lease.lease is null or u.position <> all (v_lease.positions))
           and (u.position > p_cursor.position
                or exists (select from factwire.subscription_lost_leases n
                            where n.subscription = p_cursor.subscription and n.lease = v_asked.lease
                              and u.position = any (n.positions))
                or exists (select from factwire.subscription_aside a
                            where a.subscription = p_cursor.subscription and a.position = u.position)
                or exists (select from factwire.subscription_leases o
                            where o.subscription = p_cursor.subscription and o.lease <> v_asked.lease
                              and u.position = any (o.positions))));
      lost_leases := lost_leases || array_fill(v_asked.lease, array[cardinality(v_lost)]);
      lost_positions := lost_positions || v_lost;
    end if;
    continue when v_lease.lease is null;
    v_positions := array(
      select u.position from unnest(v_asked.positions) u (position) where u.position = any (v_lease.positions));
    if not v_positions @> v_lease.positions then
      v_early := factwire.disordered(v_lease, v_positions);
      early_leases := early_leases || array_fill(v_asked.lease, array[cardinality(v_early)]);
      early_positions := early_positions || v_early;
      v_positions := array(select u.position from unnest(v_positions) u (position) where u.position <> all (v_early));
      continue when cardinality(v_positions) = 0;
    end if;
    facts := facts + cardinality(v_positions);
    select * into v_cut from factwire.cut_lease(v_lease, v_positions);
    perform factwire.drop_open_keys(p_cursor.subscription, v_cut.keys, v_cut.key_positions);
    keys := keys || v_cut.keys;
  end loop;
end
$$;
