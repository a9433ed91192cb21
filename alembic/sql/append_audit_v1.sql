-- Append one fact of the reserved namespace in the transaction of the change that it records: both are stored, or neither.
-- The caller holds the lock of the log. Documents, digests and tags are made as for any other fact; the posting lists are
-- added here.
create function factwire.append_audit(
  p_id uuid,
  p_type text,
  p_digest bytea,
  p_document bytea,
  p_tags text[]
) returns timestamptz
language sql
as $$
  select a.published_at
    from (select array_agg(l.list) as lists
            from (select t.tag || e'\x1dfactwire' as list from unnest(p_tags) t (tag) where t.tag not like 't:%'
                   union
                  select unnest(array['t:' || p_type, 't:' || p_type || e'\x1dfactwire', 'n:factwire'])) l) p
   cross join lateral factwire.append(
      '{0}', array[p_id], '{factwire}', array[p_type], '{1}', p_digest, p_document, '{1}',
      array[octet_length(p_document)], p.lists, array_fill(1, array[cardinality(p.lists)]),
      array_fill(null::text, array[cardinality(p.lists)]), '{factwire}', array[p_type], '{1}', '{}', '{}', '{}', '{}',
      '{}', '{}', '{}', '{}', '{}', 0, 0, '{}', '{}', '', '{}', '{}', null, null, null, '{}', '{}', '{}', '{}',
      '{}', null, null) a
$$;
