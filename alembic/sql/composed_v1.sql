-- One fact as it is sent: an SSE event without the blank line behind it, or its JSON alone. A plain expression, which
-- the planner puts into its caller.
create function factwire.composed(
  p_event boolean,
  p_named boolean,
  p_id text,
  p_position bigint,
  p_published_at timestamptz,
  p_namespace text,
  p_type text,
  p_document bytea
) returns bytea
language sql
stable
as $$
  select convert_to(
           case when p_named then 'event: ' || p_namespace || '/' || p_type || e'\n' else '' end
           || case when p_event then p_id || p_position || e'\ndata: ' else '' end
           || '{"position":' || p_position || ',"published_at":"'
           || to_char(p_published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '",',
           'UTF8')
         || p_document
$$;
