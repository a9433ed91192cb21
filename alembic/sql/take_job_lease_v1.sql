-- Take the lease of a job for a time, if it is free or over. Returns its fence, or null if another holder has it.
-- The fence grows with each taking, and the row stays after a release, so that it never begins anew. Whoever asks while an
-- append checks the lease waits until that append is visible: see refuse_effects.
create function factwire.take_job_lease(p_name text, p_holder uuid, p_seconds double precision) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fence bigint;
begin
  insert into factwire.job_leases as l (name, holder, fence, until)
  values (p_name, p_holder, 1, clock_timestamp() + make_interval(secs => p_seconds))
      on conflict (name) do update
     set holder = excluded.holder,
         fence = l.fence + 1,
         until = clock_timestamp() + make_interval(secs => p_seconds)
   where l.until <= clock_timestamp()
  returning fence into v_fence;
  return v_fence;
end
$$;
