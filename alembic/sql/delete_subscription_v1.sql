-- Delete a subscription with all that is open in it. Returns false if there is none.
create function factwire.delete_subscription(p_subscription integer) returns boolean
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
begin
  -- include subscription_begin_v1
  if v_cursor.subscription is null then
    return false;
  end if;
  perform from factwire.subscription_leases l where l.subscription = p_subscription order by l.lease for update;
  delete from factwire.subscription_leases l where l.subscription = p_subscription;
  delete from factwire.subscription_settled s where s.subscription = p_subscription;
  delete from factwire.subscription_open_keys o where o.subscription = p_subscription;
  delete from factwire.subscription_aside a where a.subscription = p_subscription;
  delete from factwire.subscription_lost_leases n where n.subscription = p_subscription;
  delete from factwire.subscription_workers w where w.subscription = p_subscription;
  delete from factwire.subscription_cursors c where c.subscription = p_subscription;
  delete from factwire.subscriptions s where s.id = p_subscription;
  return true;
end
$$;
