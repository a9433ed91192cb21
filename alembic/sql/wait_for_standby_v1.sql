-- Let this transaction's commit wait for the synchronous standby, if there is one, and so for everything committed before:
-- a stored fact alone proves nothing, as the wait for it may have been cancelled. PostgreSQL reports a cancelled wait by a
-- warning only, at the commit, and a role may have switched warnings off.
create function factwire.wait_for_standby() returns void
language plpgsql
as $$
begin
  if current_setting('client_min_messages') = 'error' then
    perform set_config('client_min_messages', 'warning', true);
  end if;
  if current_setting('synchronous_standby_names') <> '' then
    perform pg_logical_emit_message(true, 'factwire', '');
  end if;
end
$$;
