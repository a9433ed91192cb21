-- What services of the version before call: the same, with postings and conditions in the form of that version.
create or replace function factwire.append(
  p_requests integer[],
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
  p_chosen_requests integer[],
  p_chosen_ids uuid[],
  p_condition_requests integer[],
  p_condition_epochs integer[],
  p_condition_afters bigint[],
  p_condition_namespaces text[],
  p_condition_types text[],
  p_condition_tags text[],
  p_visits_max integer,
  p_data_subjects text[],
  p_key_ids uuid[],
  p_seals bytea,
  p_seal_starts integer[],
  p_seal_lengths integer[],
  p_witness_epoch integer,
  p_witness_position bigint,
  p_witness_id uuid,
  p_new_subjects text[],
  p_new_key_ids uuid[],
  p_new_wrapped_keys bytea[],
  p_new_master_keys text[],
  out head bigint,
  out head_id uuid,
  out epoch integer,
  out published_at timestamptz,
  out refused integer[],
  out outcomes text[],
  out positions bigint[],
  out erasures bigint
)
language sql
as $$
  select a.head, a.head_id, a.epoch, a.published_at, a.refused,
         array(select case o.outcome when 'types' then 'again' when 'namespaces' then 'again' else o.outcome end
                 from unnest(a.outcomes) with ordinality o (outcome, place) order by o.place),
         a.positions, a.erasures
    from factwire.lists_of_call(p_namespaces, p_types, p_tags, p_tag_places, p_tag_earlier) l
   cross join lateral factwire.append(
      p_requests, p_ids, p_namespaces, p_types, p_versions, p_digests, p_documents, p_starts, p_lengths, l.lists,
      l.places, l.earlier, p_kind_namespaces, p_kind_types, p_kind_versions, p_chosen_requests, p_chosen_ids,
      p_condition_requests, p_condition_epochs, p_condition_afters,
      array_fill(null::uuid, array[cardinality(p_condition_requests)]),
      array(select factwire.scope_before(c.namespaces)
              from unnest(p_condition_namespaces) with ordinality c (namespaces, place) order by c.place),
      p_condition_types, p_condition_tags, p_visits_max, 0.05, p_data_subjects, p_key_ids, p_seals, p_seal_starts,
      p_seal_lengths, p_witness_epoch, p_witness_position, p_witness_id, p_new_subjects, p_new_key_ids,
      p_new_wrapped_keys, p_new_master_keys, '{}', null, null) a
$$;
