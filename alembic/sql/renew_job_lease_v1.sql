-- Prolong the lease of a job from now on, or end it now (p_seconds 0). Returns false if the holder does not have it any more.
create function factwire.renew_job_lease(p_name text, p_holder uuid, p_fence bigint, p_seconds double precision)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update factwire.job_leases
     set until = clock_timestamp() + make_interval(secs => p_seconds)
   where name = p_name and holder = p_holder and fence = p_fence and until > clock_timestamp();
  return found;
end
$$;
