-- Remember facts that left a lease without an acknowledgement, so that a late one is told from one that is repeated.
create function factwire.note_lost(p_subscription integer, p_lease bigint, p_positions bigint[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into factwire.subscription_lost_leases as l (subscription, lease, positions, lost_at)
  values (p_subscription, p_lease, p_positions, clock_timestamp())
      on conflict (subscription, lease) do update
     set positions = l.positions || excluded.positions, lost_at = excluded.lost_at
$$;
