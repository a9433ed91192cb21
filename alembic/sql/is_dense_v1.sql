-- Whether the document of a fact is stored as compose_page takes it, by the number that it begins with and by where its
-- JSON has to begin and end. A plain expression, which the planner puts into its caller. p_before is the position before
-- its own, p_digits its digits: were it not compared, a document that stands at another place would give the event before
-- it an id that skips a fact.
create function factwire.is_dense(p_document bytea, p_before bigint, p_digits integer) returns boolean
language sql
immutable
as $$
  select case when octet_length(p_document) > 60
              then substr(p_document, 1, p_digits) = p_before::text::bytea
                   and get_byte(p_document, p_digits) = 10 and get_byte(p_document, p_digits + 1) = 10
                   and get_byte(p_document, p_digits + 8) = 123
                   and get_byte(p_document, octet_length(p_document) - 1) = 125
              else false end
$$;
