-- Trigger: allow the one change that a stored fact can undergo, the removal of its payload, if this transaction has
-- recorded it in factwire.redactions. Anybody can make the setting that refuse_change looks at; the record is permanent.
create function factwire.allow_redaction() returns trigger
language plpgsql
as $$
declare
  v_allowed boolean := exists (
    select from factwire.redactions r
     where r.position = old.position and r.xmin = pg_current_xact_id()::xid);
begin
  if v_allowed and tg_table_name = 'sealed' then
    v_allowed := row(new.position, new.data_subject, new.seal)
      = row(old.position, old.data_subject, substr(old.seal, 1, 32));
  elsif v_allowed then
    v_allowed := new.document = factwire.redact_document(old.document)
      and row(new.position, new.id, new.published_at, new.namespace, new.type, new.version)
        = row(old.position, old.id, old.published_at, old.namespace, old.type, old.version);
  end if;
  if not v_allowed then
    raise exception sqlstate 'FW001'
      using message = format('UPDATE on factwire.%s is refused: facts are immutable', tg_table_name);
  end if;
  return new;
end
$$;
