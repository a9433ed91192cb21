-- True if a document has the form that compose_page expects, judged by two of its bytes: the line feed before its `data:`,
-- and its end. Each look at a byte costs a twentieth of reading the fact. A plain expression, which the planner inlines.
-- p_digits are those of the position before its own.
create function factwire.is_well_formed(p_document bytea, p_digits integer) returns boolean
language sql
immutable
as $$
  select case when octet_length(p_document) > 60
              then get_byte(p_document, p_digits + 1) = 10
                   and get_byte(p_document, octet_length(p_document) - 1) = 125
              else false end
$$;
