-- Check the effects of the requests of an append that are not refused yet, under the lock of the log. Returns each request
-- that must not be appended: 'lost' (its job does not hold its lease any more), 'void' (what it would write has no object
-- any more), 'unleased' and 'early' (a fact that it acknowledges, at `position`, is not in its lease any more, or comes
-- after one that is still open; see acknowledge_facts), or 'again' (another transaction is changing the row that was to be
-- checked: the next call decides). It waits for no row lock, since everybody else waits for it.
create function factwire.refuse_effects(p_effects jsonb, p_refused integer[])
  returns table (request integer, outcome text, "position" bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_effect record;
  v_holds boolean;
  v_lease factwire.subscription_leases;
begin
  for v_effect in
    select e.request, e.kind, e.name, e.holder, e.fence, e.key_id, e.subscription, e.lease, e.positions
      from jsonb_to_recordset(p_effects)
             e (request integer, kind text, name text, holder uuid, fence bigint, key_id text, subscription integer,
                lease bigint, positions bigint[])
     where e.request <> all (p_refused)
     order by e.request
  loop
    continue when v_effect.request = request;
    position := null;
    -- The row lock holds off other changes until the commit: a lease that runs out meanwhile was held all the same. A row
    -- that is locked by others is not returned, and v_holds is null.
    case v_effect.kind
      when 'lease' then
        select l.holder = v_effect.holder and l.fence = v_effect.fence and l.until > clock_timestamp() into v_holds
          from factwire.job_leases l where l.name = v_effect.name for update skip locked;
        outcome := case
          when v_holds then null
          when v_holds is null
               and exists (select from factwire.job_leases l
                            where l.name = v_effect.name and l.holder = v_effect.holder and l.fence = v_effect.fence) then 'again'
          else 'lost'
        end;
      when 'expiry' then
        select k.expires_at <= clock_timestamp() and k.revoked_at is null and k.expiry_recorded_at is null into v_holds
          from factwire.keys k where k.id = v_effect.key_id for update skip locked;
        outcome := case
          when v_holds then null
          when v_holds is null and exists (select from factwire.keys k where k.id = v_effect.key_id) then 'again'
          else 'void'
        end;
      when 'acknowledgement' then
        -- Not `until`: a lease that has run out and was not taken back is nobody else's.
        select * into v_lease from factwire.subscription_leases l
         where l.subscription = v_effect.subscription and l.lease = v_effect.lease for update skip locked;
        outcome := null;
        if v_lease.lease is null then
          position := v_effect.positions[1];
          outcome := case
            when exists (select from factwire.subscription_leases l
                          where l.subscription = v_effect.subscription and l.lease = v_effect.lease) then 'again'
            else 'unleased'
          end;
        elsif not v_lease.positions @> v_effect.positions then
          position := (select min(u.position) from unnest(v_effect.positions) u (position)
                        where u.position <> all (v_lease.positions));
          outcome := 'unleased';
        else
          position := (factwire.disordered(v_lease, v_effect.positions))[1];
          outcome := case when position is null then null else 'early' end;
        end if;
    end case;
    if outcome is not null then
      request := v_effect.request;
      return next;
    end if;
  end loop;
end
$$;
