-- Append one fact of the reserved namespace, in the transaction of what it tells of: both are stored or neither is.
-- The caller holds the lock of the log. Documents, digests and tags are made as those of any other fact.
create or replace function factwire.append_audit(
  p_id uuid,
  p_type text,
  p_digest bytea,
  p_document bytea,
  p_tags text[]
) returns timestamptz
language sql
as $$
  select a.published_at
    from factwire.append(
      '{0}', array[p_id], '{factwire}', array[p_type], '{1}', p_digest, p_document, '{1}',
      array[octet_length(p_document)], p_tags, array_fill(1, array[cardinality(p_tags)]),
      array_fill(null::text, array[cardinality(p_tags)]), '{factwire}', array[p_type], '{1}', '{}', '{}', '{}', '{}',
      '{}', '{}', '{}', '{}', 0, '{}', '{}', '', '{}', '{}', null, null, null, '{}', '{}', '{}', '{}') a
$$;
