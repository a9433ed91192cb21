-- Trigger: facts are immutable (P9). Called before UPDATE, DELETE and TRUNCATE on each table of the log.
-- An UPDATE within redact_fact continues to allow_redaction, which judges each row.
create function factwire.refuse_change() returns trigger
language plpgsql
as $$
begin
  if tg_op = 'UPDATE'
     and (tg_table_name = 'sealed' or tg_table_name ~ '^facts(_p[0-9]+)?$')
     and current_setting('factwire.redacting', true) = pg_current_xact_id_if_assigned()::text then
    return null;
  end if;
  raise exception sqlstate 'FW001'
    using message = format('%s on factwire.%s is refused: facts are immutable', tg_op, tg_table_name);
end
$$;
