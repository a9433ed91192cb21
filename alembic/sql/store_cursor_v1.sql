-- Store the cursor of a subscription, if it has changed, as a new row that replaces the one before.
--
-- The row with the greatest seq counts, and it is found from the right edge of the index: dead versions, which an old
-- snapshot may keep for hours, lie to the left of it and are never walked. An update would leave them in its way.
create function factwire.store_cursor(
  p_before factwire.subscription_cursors,
  p_cursor factwire.subscription_cursors
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_cursor is not distinct from p_before then
    return;
  end if;
  insert into factwire.subscription_cursors (subscription, seq, position, turn, taken, aside, in_flight, look_at)
  values (p_before.subscription, p_before.seq + 1, p_cursor.position, p_cursor.turn, p_cursor.taken, p_cursor.aside,
          p_cursor.in_flight, p_cursor.look_at);
  delete from factwire.subscription_cursors c where c.subscription = p_before.subscription and c.seq = p_before.seq;
end
$$;
