-- Facts are immutable (P9): a trigger on each table of the log calls this before UPDATE, DELETE and TRUNCATE.
create function factwire.refuse_change() returns trigger
language plpgsql
as $$
begin
  raise exception sqlstate 'FW001'
    using message = format('%s on factwire.%s is refused: facts are immutable', tg_op, tg_table_name);
end
$$;
