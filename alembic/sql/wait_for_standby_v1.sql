-- Let this transaction's commit wait for the synchronous standby, where there is one, and with it for all that was
-- committed before: that something is stored already proves nothing, as the wait for it may have been cancelled. Such a
-- cancelling is told by a warning alone, at the commit, and a role may have chosen to hear none.
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
