-- Trigger: the grants and the expiry of a key never change, and a revoked key stays revoked. Called before UPDATE (each
-- row), DELETE and TRUNCATE. Only the last use and the revocation of a key can be written.
create function factwire.guard_key() returns trigger
language plpgsql
as $$
begin
  if tg_op <> 'UPDATE' then
    raise exception sqlstate 'FW004' using message = format('%s on factwire.%s is refused: revoke the key instead', tg_op, tg_table_name);
  end if;
  if (new.id, new.name, new.grants, new.created_at, new.expires_at)
       is distinct from (old.id, old.name, old.grants, old.created_at, old.expires_at)
     or (old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at) then
    raise exception sqlstate 'FW004' using message = 'a key cannot be changed: create another one, and revoke this one';
  end if;
  return new;
end
$$;
