-- True if the document after a position starts with the number of that position, as compose_page expects: in a page of
-- events it is the id of the event before it.
create function factwire.starts_with_previous_position(p_after bigint) returns boolean
language sql
stable
as $$
  select coalesce(
    (select substr(f.document, 1, length(p_after::text) + 9) = convert_to(p_after || e'\n\ndata: {', 'UTF8')
       from factwire.facts f
      where f.position = p_after + 1), false)
$$;
