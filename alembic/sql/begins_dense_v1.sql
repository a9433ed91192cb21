-- Whether the document behind a position is stored as compose_page takes it: in a log from before 0009, older ones are not.
create function factwire.begins_dense(p_after bigint) returns boolean
language sql
stable
as $$
  select coalesce(
    (select factwire.is_dense(substr(f.document, 1, 64) || '}'::bytea, p_after, length(p_after::text))
       from factwire.facts f
      where f.position = p_after + 1), false)
$$;
