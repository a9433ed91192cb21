-- The JSON of a stored fact, as every reader receives it. A plain expression, which the planner inlines.
--
-- A document is stored as `<position - 1>\n\ndata: {"position":<position>,…}`, so that a page of events is documents with
-- a constant between them; see compose_page. Anything else was not written by append. It is never skipped: its columns are
-- sent instead.
create function factwire.fact_json(
  p_position bigint,
  p_published_at timestamptz,
  p_id uuid,
  p_namespace text,
  p_type text,
  p_version integer,
  p_document bytea
) returns bytea
language sql
stable
as $$
  select case
           when substr(p_document, octet_length(p_document)) <> '}'::bytea then
             factwire.unreadable_fact_json(p_position, p_published_at, p_id, p_namespace, p_type, p_version)
           when substr(p_document, 1, length((p_position - 1)::text) + 20)
                = convert_to((p_position - 1) || e'\n\ndata: {"position":', 'UTF8') then
             substr(p_document, length((p_position - 1)::text) + 9)
           else factwire.unreadable_fact_json(p_position, p_published_at, p_id, p_namespace, p_type, p_version)
         end
$$;
