-- Whether the document behind a position begins as compose_page takes it: with the number of the position before its own,
-- which the last id of an event before it would be. In a log from before 0009, older ones do not.
create function factwire.begins_dense(p_after bigint) returns boolean
language sql
stable
as $$
  select coalesce(
    (select substr(f.document, 1, length(p_after::text) + 9) = convert_to(p_after || e'\n\ndata: {', 'UTF8')
       from factwire.facts f
      where f.position = p_after + 1), false)
$$;
