-- Report a damaged log. Positions are gapless: a position up to the head without a fact, or a posting without one, is damage.
-- Readers call this instead of skipping the position, which would lose a fact silently.
create function factwire.raise_missing_fact(p_position bigint) returns boolean
language plpgsql
stable
as $$
begin
  raise exception sqlstate 'FW005'
    using message = format('the fact at position %s is missing: the log is damaged, run factwire verify', p_position);
end
$$;
