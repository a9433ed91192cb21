-- A stored fact as a page has it, without what stands between two of them. A plain expression, which the planner puts
-- into its caller. The JSON begins behind `<position>\ndata: `.
create function factwire.formed(
  p_form text,
  p_id text,
  p_position bigint,
  p_namespace text,
  p_type text,
  p_document bytea
) returns bytea
language sql
stable
as $$
  select case p_form
           when 'events' then p_document
           when 'typed-events' then
             convert_to('event: ' || p_namespace || '/' || p_type || e'\n' || p_id, 'UTF8') || p_document
           else substr(p_document, length(p_position::text) + 8)
         end
$$;
