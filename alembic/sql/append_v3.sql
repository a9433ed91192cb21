-- Append the facts of many requests in one transaction; each request has its own outcome.
--
-- Facts come as parallel arrays in publishing order, their digests and documents concatenated; conditions as one entry
-- for each item. `p_chosen_ids` are the ids that clients chose: only they can be stored already. Postings come as one
-- entry for each tag of the call: the place of the last fact that has it (from 1), and the distances of the others before
-- it ('{1,2}', or null for none).
-- If facts of the call have data subjects, five more arrays describe every fact: its data subject, the key that encrypted
-- it, and the place of its seal in `p_seals`; empty, null and of length 0 for facts without one. `p_new_*` are the keys of
-- new data subjects: each is stored with the first fact that needs it, so that a refused request leaves nothing behind.
-- `p_witness_*` is a fact that the caller has read in that epoch. If another fact is there, history was replaced: nothing
-- is appended (FW006), as while a detected fork waits for `factwire epoch raise`.
-- The result is one short row, small enough for the socket's buffer: a process that stalls must not keep the lock because
-- the server cannot send. It has the former head with its id and, for each refused request, an outcome: 'known' (its ids
-- are stored; the caller compares contents), 'failed' (position = a fact that violates the condition), 'slow' (position
-- and place = how far the search came) and 'again' (see check_conditions), 'restarted' (see refuse_conditions), 'forked'
-- (the condition's cursor is of another epoch), 'ahead' (it is after the head), 'erased' (a data subject was erased),
-- 'unkeyed' (the key of a data subject is not the stored one), 'types' and 'namespaces' (see register_kinds;
-- `p_principals` has the author of each request), 'lost' and 'void' (see refuse_effects, of which 'again' may come as
-- well), 'unleased' and 'early' (see there; position = the fact that cannot be acknowledged). The facts of all other
-- requests follow the head in the order of the arrays. `erasures` is log.erasures.
create function factwire.append(
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
  p_condition_ids uuid[],
  p_condition_scopes text[],
  p_condition_types text[],
  p_condition_tags text[],
  p_work_max integer,
  p_condition_seconds double precision,
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
  p_principals text[],
  p_types_max integer,
  p_namespaces_max integer,
  p_effects jsonb default null,
  out head bigint,
  out head_id uuid,
  out epoch integer,
  out published_at timestamptz,
  out refused integer[],
  out outcomes text[],
  out positions bigint[],
  out places integer[],
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
  v_places integer[];
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
  refused := '{}';
  outcomes := '{}';
  positions := '{}';
  places := '{}';

  -- Before the conditions: a retried conditional publish must find itself and not conflict with itself.
  if cardinality(p_chosen_ids) > 0 then
    refused := array(
      select distinct c.request
        from unnest(p_chosen_requests, p_chosen_ids) c (request, id)
       cross join lateral (select from factwire.fact_ids k where k.id = c.id limit 1) k);
    outcomes := array_fill('known'::text, array[cardinality(refused)]);
    positions := array_fill(null::bigint, array[cardinality(refused)]);
    places := array_fill(null::integer, array[cardinality(refused)]);
  end if;
  -- Erasing takes the same lock: no fact encrypted before an erasure is appended after it.
  if cardinality(p_seal_lengths) > 0 then
    select refused || coalesce(array_agg(g.request), '{}'),
           outcomes || coalesce(array_agg(g.outcome), '{}'),
           positions || coalesce(array_agg(null::bigint), '{}'),
           places || coalesce(array_agg(null::integer), '{}')
      into refused, outcomes, positions, places
      from (select u.request,
                   case when bool_or(d.erased_at is not null) then 'erased' else 'unkeyed' end as outcome
              from unnest(p_requests, p_data_subjects, p_key_ids) u (request, data_subject, key_id)
              left join factwire.data_subjects d on d.id = u.data_subject
             where u.key_id is not null
               and u.request <> all (refused)
               and (d.erased_at is not null or d.key_id is distinct from u.key_id)
               and not (d.id is null and u.key_id = any (p_new_key_ids))
             group by u.request) g;
  end if;
  if cardinality(p_condition_requests) > 0 then
    select refused || coalesce(array_agg(c.request), '{}'),
           outcomes || coalesce(array_agg(c.outcome), '{}'),
           positions || coalesce(array_agg(c.position), '{}'),
           places || coalesce(array_agg(c.place), '{}')
      into refused, outcomes, positions, places
      from factwire.refuse_conditions(
        p_condition_requests, p_condition_epochs, p_condition_afters, p_condition_ids, p_condition_scopes,
        p_condition_types, p_condition_tags, refused, epoch, head, p_work_max, p_condition_seconds) c;
  end if;
  if p_effects is not null then
    select refused || coalesce(array_agg(e.request), '{}'),
           outcomes || coalesce(array_agg(e.outcome), '{}'),
           positions || coalesce(array_agg(e.position), '{}'),
           places || coalesce(array_agg(null::integer), '{}')
      into refused, outcomes, positions, places
      from factwire.refuse_effects(p_effects, refused) e;
  end if;
  if v_known_kinds < cardinality(p_kind_types) then
    select refused || k.exceeding, outcomes || k.limits,
           positions || array_fill(null::bigint, array[cardinality(k.exceeding)]),
           places || array_fill(null::integer, array[cardinality(k.exceeding)])
      into refused, outcomes, positions, places
      from factwire.register_kinds(
        p_requests, p_namespaces, p_types, p_versions, p_principals, p_types_max, p_namespaces_max, refused) k;
  end if;

  if cardinality(refused) > 0 then
    select k.places, k.ids, k.namespaces, k.types, k.versions, k.starts, k.lengths, k.tags, k.tag_places, k.tag_earlier
      into v_places, p_ids, p_namespaces, p_types, p_versions, p_starts, p_lengths, p_tags, p_tag_places, p_tag_earlier
      from factwire.keep_unrefused(
        p_requests, refused, p_ids, p_namespaces, p_types, p_versions, p_starts, p_lengths, p_tags, p_tag_places,
        p_tag_earlier) k;
    v_count := cardinality(p_ids);
    select string_agg(substr(p_digests, 32 * k.place - 31, 32), ''::bytea order by k.new_place) into p_digests
      from unnest(v_places) with ordinality k (place, new_place);
  end if;
  if v_count = 0 then
    return;
  end if;

  -- include append_store_v1
  if cardinality(p_seal_lengths) > 0 then
    v_places := coalesce(v_places, array(select generate_series(1, v_count)));
    insert into factwire.data_subjects (id, key_id, wrapped_key, master_key)
    select n.id, n.key_id, n.wrapped_key, n.master_key
      from unnest(p_new_subjects, p_new_key_ids, p_new_wrapped_keys, p_new_master_keys)
             n (id, key_id, wrapped_key, master_key)
     where n.key_id = any (array(select p_key_ids[k.place] from unnest(v_places) k (place) where k.place > 0));
    insert into factwire.sealed (position, data_subject, seal)
    select head + k.new_place, p_data_subjects[k.place],
           substr(p_seals, p_seal_starts[k.place], p_seal_lengths[k.place])
      from unnest(v_places) with ordinality k (place, new_place)
     where p_seal_lengths[k.place] > 0;
  end if;
  if p_effects is not null then
    perform factwire.apply_effects(p_effects, refused, published_at);
  end if;
end
$$;
