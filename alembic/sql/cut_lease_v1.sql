-- Take some of its facts out of a lease, whose row is locked; a lease without facts is deleted.
-- Returns the keys of these facts, each with its position.
create function factwire.cut_lease(
  p_lease factwire.subscription_leases,
  p_positions bigint[],
  out keys bigint[],
  out key_positions bigint[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_places smallint[];  -- the new place of each fact, 0 if it is taken out
begin
  if p_positions @> p_lease.positions then
    keys := p_lease.keys;
    key_positions := array(
      select p_lease.positions[k.place] from unnest(p_lease.key_places) with ordinality k (place, n) order by k.n);
    delete from factwire.subscription_leases l
     where l.subscription = p_lease.subscription and l.lease = p_lease.lease;
    return;
  end if;
  v_places := array(
    select (sum(f.kept) over (order by f.n rows unbounded preceding) * f.kept)::smallint
      from (select u.n, (u.position <> all (p_positions))::integer as kept
              from unnest(p_lease.positions) with ordinality u (position, n)) f
     order by f.n);
  select coalesce(array_agg(k.key order by k.n), '{}'),
         coalesce(array_agg(p_lease.positions[k.place] order by k.n), '{}')
    into keys, key_positions
    from unnest(p_lease.keys, p_lease.key_places) with ordinality k (key, place, n)
   where v_places[k.place] = 0;
  update factwire.subscription_leases l
     set (positions, attempts) = (
           select array_agg(u.position order by u.n), array_agg(u.attempts order by u.n)
             from unnest(p_lease.positions, p_lease.attempts) with ordinality u (position, attempts, n)
            where v_places[u.n] > 0),
         (keys, key_places) = (
           select coalesce(array_agg(k.key order by k.n), '{}'), coalesce(array_agg(v_places[k.place] order by k.n), '{}')
             from unnest(p_lease.keys, p_lease.key_places) with ordinality k (key, place, n)
            where v_places[k.place] > 0)
   where l.subscription = p_lease.subscription and l.lease = p_lease.lease;
end
$$;
