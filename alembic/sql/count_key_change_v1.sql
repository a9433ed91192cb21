-- Trigger: count the changes of keys and their secrets, so that every process sees with one read that its key cache is
-- stale. The row is locked until the commit: a reader of a version sees all changes up to it. Security definer, so that
-- the serving role needs no privilege on the version.
create function factwire.count_key_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update factwire.keys_version set version = version + 1;
  return null;
end
$$;
