-- Take the lock that orders the log, until the end of the transaction; see append.
create function factwire.lock_log() returns void
language sql
as $$
  select pg_advisory_xact_lock(l.lock_key) from factwire.log l
$$;
