-- Write what the effects of the appended requests say, in the transaction of their facts. refuse_effects has locked the rows.
create function factwire.apply_effects(p_effects jsonb, p_refused integer[], p_published_at timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_effect record;
  v_lease factwire.subscription_leases;
begin
  update factwire.keys k
     set expiry_recorded_at = p_published_at
    from jsonb_to_recordset(p_effects) e (request integer, kind text, key_id text)
   where e.kind = 'expiry' and e.request <> all (p_refused) and k.id = e.key_id;
  for v_effect in
    select e.subscription, e.lease, e.positions
      from jsonb_to_recordset(p_effects)
             e (request integer, kind text, subscription integer, lease bigint, positions bigint[])
     where e.kind = 'acknowledgement' and e.request <> all (p_refused)
     order by e.request
  loop
    select * into v_lease from factwire.subscription_leases l
     where l.subscription = v_effect.subscription and l.lease = v_effect.lease;
    -- Only the row of the lease, never the lock of the subscription, for which every publisher would wait: the keys are
    -- released by the next call that has that lock; see release_settled.
    insert into factwire.subscription_settled (subscription, keys, key_positions, facts)
    select v_effect.subscription, c.keys, c.key_positions, cardinality(v_effect.positions)
      from factwire.cut_lease(v_lease, v_effect.positions) c;
  end loop;
end
$$;
