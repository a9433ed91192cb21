-- Let every process see at a glance that keys have changed, whoever has changed them: triggers on the keys and their
-- secrets call this. The row is locked until the commit, so that whoever sees a version sees all changes up to it. It
-- runs with the rights of its owner, so that the role that serves needs none on the version.
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
