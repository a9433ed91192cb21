-- Trigger: a data subject stays on record, and an erased one stays erased. Only its key may be rewrapped or destroyed.
create function factwire.guard_data_subject() returns trigger
language plpgsql
as $$
begin
  if tg_op = 'UPDATE' and old.erased_at is null
     and row(new.id, new.key_id, new.created_at) = row(old.id, old.key_id, old.created_at) then
    return new;
  end if;
  raise exception sqlstate 'FW001'
    using message = format('%s on factwire.%s is refused: an erasure is permanent', tg_op, tg_table_name);
end
$$;
