-- Check the effects of the requests of an append that are not refused yet, under the lock of the log. Returns each request
-- that must not be appended: 'lost' (its job does not hold its lease any more), or 'again' (another transaction is changing
-- the row that was to be checked: the next call decides). It waits for no row lock, since everybody else waits for it.
create function factwire.refuse_effects(p_effects jsonb, p_refused integer[]) returns table (request integer, outcome text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_effect record;
begin
  for v_effect in
    select e.request, e.kind, e.name, e.holder, e.fence
      from jsonb_to_recordset(p_effects) e (request integer, kind text, name text, holder uuid, fence bigint)
     where e.request <> all (p_refused)
     order by e.request
  loop
    continue when v_effect.request = request;
    outcome := null;
    case v_effect.kind
      when 'lease' then
        -- The row lock holds off another holder until the commit: a lease that runs out meanwhile was held all the same.
        perform from factwire.job_leases l
          where l.name = v_effect.name and l.holder = v_effect.holder and l.fence = v_effect.fence
            and l.until > clock_timestamp()
            for update skip locked;
        if not found then
          perform from factwire.job_leases l
            where l.name = v_effect.name and l.holder = v_effect.holder and l.fence = v_effect.fence
              and l.until > clock_timestamp();
          outcome := case when found then 'again' else 'lost' end;
        end if;
    end case;
    if outcome is not null then
      request := v_effect.request;
      return next;
    end if;
  end loop;
end
$$;
