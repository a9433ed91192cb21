-- Whether a document has the form in which compose_page takes it, by two of its bytes: the line feed before its `data:`, and
-- its end. Each look at a byte is a twentieth of what reading a fact costs. A plain expression, which the planner puts into
-- its caller. p_digits are those of the position before its own.
create function factwire.is_dense(p_document bytea, p_digits integer) returns boolean
language sql
immutable
as $$
  select case when octet_length(p_document) > 60
              then get_byte(p_document, p_digits + 1) = 10
                   and get_byte(p_document, octet_length(p_document) - 1) = 125
              else false end
$$;
