-- A stored document without its payload. Earlier texts cannot contain this mark: their quotes would be escaped.
create function factwire.redact_document(p_document bytea) returns bytea
language sql
immutable
as $$
  select substr(p_document, 1, position('},"payload":'::bytea in p_document) + 11) || 'null,"redacted":true}'::bytea
$$;
