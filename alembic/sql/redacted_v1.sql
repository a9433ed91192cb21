-- A stored document without its payload. In the texts before it the quotes of this mark would be escaped.
create function factwire.redacted(p_document bytea) returns bytea
language sql
immutable
as $$
  select substr(p_document, 1, position('},"payload":'::bytea in p_document) + 11) || 'null,"redacted":true}'::bytea
$$;
