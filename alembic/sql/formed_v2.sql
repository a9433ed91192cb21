-- A stored fact as services of the version before put it into their pages: they call list_page.
create or replace function factwire.formed(
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
           when 'events' then convert_to(p_position || e'\ndata: ', 'UTF8')
           when 'typed-events' then
             convert_to('event: ' || p_namespace || '/' || p_type || e'\n' || p_id || p_position || e'\ndata: ', 'UTF8')
           else ''::bytea
         end
         || substr(p_document, position('{"position":'::bytea in p_document))
$$;
