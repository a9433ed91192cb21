-- Append facts of which nothing can be refused: without a chosen id, condition, data subject or effect. It is append for
-- nearly every call, with a third of its arguments; see there for what they mean. If a namespace, type or version is not in
-- the catalogue yet, nothing is appended, and head is null: append registers it.
create function factwire.append_plain(
  p_ids uuid[],
  p_namespaces text[],
  p_types text[],
  p_versions integer[],
  p_digests bytea,
  p_documents bytea,
  p_starts integer[],
  p_lengths integer[],
  p_tags text[],
  p_tag_places integer[],
  p_tag_earlier text[],
  p_kind_namespaces text[],
  p_kind_types text[],
  p_kind_versions integer[],
  p_witness_epoch integer,
  p_witness_position bigint,
  p_witness_id uuid,
  out head bigint,
  out head_id uuid,
  out epoch integer,
  out published_at timestamptz,
  out erasures bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_count integer := cardinality(p_ids);
  v_time timestamptz;
  v_known_kinds integer;
  v_prefix text;
  v_hash bytea;
  v_chained_to bigint;
  v_bytes bigint;
  v_forked_at timestamptz;
  v_forked_after bigint;
  v_floor bigint;
  v_witness uuid;
begin
  -- include append_begin_v1
  if v_known_kinds < cardinality(p_kind_types) then
    head := null;
    return;
  end if;

  -- include append_store_v1
end
$$;
