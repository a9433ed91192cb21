-- Part of append and append_plain, which include it: store the facts after the head.
  -- One entry of the chain for each append: a copy of its hash proves later that nothing up to here was changed.
  if v_chained_to > head then
    -- History was removed outside the service. Its entries stay, so that `factwire verify` reports it.
    v_bytes := null;
    select h.hash into v_hash
      from factwire.chain h where h.last_position <= head order by h.last_position desc limit 1;
  end if;
  v_hash := sha256(
    coalesce(v_hash, ''::bytea) || int8send(head + 1) || int8send(head + v_count) || timestamptz_send(published_at)
      || array_send(p_ids) || p_digests);
  -- The arrays are unnested side by side in a select list: as functions in FROM, each would first be copied whole.
  -- A fact is stored as it is sent, so that reading history is concatenating documents; see compose_page.
  v_prefix := ',"published_at":"' || to_char(published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '",';
  -- The running sum of document_bytes_max: at least the bytes stored. Where the sum restarts, it starts so high that no
  -- difference across that place is small.
  v_bytes := coalesce(v_bytes, head << 24) + octet_length(p_documents) + v_count * (60 + length(v_prefix));
  with stored as (
    insert into factwire.facts (position, id, published_at, namespace, type, version, document)
    select f.position, f.id, published_at, f.namespace, f.type, f.version,
           convert_to((f.position - 1) || e'\n\ndata: {"position":' || f.position || v_prefix, 'UTF8')
             || substr(p_documents, f.start, f.length)
      from (select generate_series(head + 1, head + v_count) as position, unnest(p_ids) as id,
                   unnest(p_namespaces) as namespace, unnest(p_types) as type, unnest(p_versions) as version,
                   unnest(p_starts) as start, unnest(p_lengths) as length) f
  ), known as (
    insert into factwire.fact_ids (id, position, digest)
    select f.id, f.position, substr(p_digests, 32 * f.place - 31, 32)
      from (select unnest(p_ids) as id, generate_series(head + 1, head + v_count) as position,
                   generate_series(1, v_count) as place) f
  ), chained as (
    insert into factwire.chain (last_position, first_position, published_at, hash, bytes_so_far)
    select head + v_count, head + 1, published_at, v_hash, v_bytes
     where v_chained_to is null or v_chained_to <= head
  )
  insert into factwire.fact_tags (tag, position, earlier)
  select unnest(p_tags), head + unnest(p_tag_places), unnest(p_tag_earlier)::smallint[];
  if v_chained_to > head then
    insert into factwire.chain (last_position, first_position, published_at, hash)
    values (head + v_count, head + 1, published_at, v_hash)
        on conflict do nothing;
  end if;
