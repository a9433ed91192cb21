-- What a key grants and until when never changes, and a key that was revoked stays so: a trigger on the keys calls this
-- before UPDATE (each row), DELETE and TRUNCATE. Only its last use and its revocation can be noted.
create function factwire.keep_key() returns trigger
language plpgsql
as $$
begin
  if tg_op <> 'UPDATE' then
    raise exception sqlstate 'FW004' using message = format('%s on factwire.%s is refused: revoke keys', tg_op, tg_table_name);
  end if;
  if (new.id, new.name, new.grants, new.created_at, new.expires_at)
       is distinct from (old.id, old.name, old.grants, old.created_at, old.expires_at)
     or (old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at) then
    raise exception sqlstate 'FW004' using message = 'a key is not changed: make another one, and revoke this one';
  end if;
  return new;
end
$$;
