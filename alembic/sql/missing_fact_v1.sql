-- Positions are dense: a position up to the head without its fact, or a posting without one, is damage to the database.
-- Readers call this in place of stepping over the hole, which would skip a fact for good without a word.
create function factwire.missing_fact(p_position bigint) returns boolean
language plpgsql
stable
as $$
begin
  raise exception sqlstate 'FW005'
    using message = format('the fact at position %s is missing: the log is damaged, run factwire verify', p_position);
end
$$;
