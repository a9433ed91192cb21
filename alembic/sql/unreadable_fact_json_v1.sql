-- The JSON of a fact whose stored document is not readable: its columns, without the payload.
create function factwire.unreadable_fact_json(
  p_position bigint,
  p_published_at timestamptz,
  p_id uuid,
  p_namespace text,
  p_type text,
  p_version integer
) returns bytea
language sql
stable
as $$
  select convert_to(
    format('{"position":%s,"published_at":"%s","id":"%s","namespace":"%s","type":"%s","version":%s,"aggregate_ids":[],"meta":{},"payload":null,"unreadable":true}',
      p_position, to_char(p_published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), p_id, p_namespace,
      p_type, p_version),
    'UTF8')
$$;
