-- Append the facts of many requests in one transaction; each request has an outcome of its own.
--
-- Facts come as parallel arrays in publishing order, conditions as one entry an item. One short row a request comes
-- back, few enough to fit into the socket's buffer: a process that stalls must not keep the lock because the
-- server cannot send. Outcomes: 'appended' (position = that of the request's first fact), 'known' (its ids are
-- stored; the caller compares contents), 'failed' (position = a fact the condition forbids), 'slow' and 'again' (see
-- check_conditions), 'forked' (the condition's cursor is of another epoch), 'ahead' (it is beyond the head).
create function factwire.append_facts(
  p_requests integer[],
  p_ids uuid[],
  p_namespaces text[],
  p_types text[],
  p_versions integer[],
  p_tags text[],
  p_digests bytea[],
  p_documents bytea[],
  p_condition_requests integer[],
  p_condition_epochs integer[],
  p_condition_afters bigint[],
  p_condition_namespaces text[],
  p_condition_types text[],
  p_condition_tags text[],
  p_visits_max integer
) returns table (request integer, outcome text, "position" bigint, epoch integer, published_at timestamptz)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_epoch integer;
  v_head bigint;
  v_published_at timestamptz;
  v_refused integer[] := '{}';
  v_row record;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception sqlstate 'FW002' using message = 'append_facts needs READ COMMITTED';
  end if;

  -- The order of the log is made here (P2). The lock is held until the commit is visible, so positions are taken and
  -- become visible one call after the other: whoever sees position n sees everything before it. It must be a
  -- statement of its own: the next statement then takes its snapshot after the wait. In one statement with the read
  -- of the head, the snapshot would be older than the wait and the head that of a log without the facts of whoever
  -- held the lock; likewise under REPEATABLE READ, hence the check above. A sequence without the lock would let a
  -- reader pass position n while n - 1 is not committed yet, and never return to it.
  perform pg_advisory_xact_lock(l.lock_key) from factwire.log l;

  select l.epoch, l.floor into v_epoch, v_head from factwire.log l;
  for v_row in select f.position, f.published_at from factwire.facts f order by f.position desc limit 1 loop
    v_head := v_row.position;
    v_published_at := v_row.published_at;
  end loop;
  -- greatest() ignores a null, and the clock of a server may step back: published_at must not.
  v_published_at := greatest(clock_timestamp(), v_published_at);

  -- Before the conditions: a retried conditional publish must find itself and not conflict with itself.
  for v_row in
    select n.request
      from unnest(p_requests, p_ids) n (request, id)
      join factwire.fact_ids k on k.id = n.id
     group by n.request
  loop
    v_refused := v_refused || v_row.request;
    return query select v_row.request, 'known', null::bigint, v_epoch, null::timestamptz;
  end loop;

  if cardinality(p_condition_requests) > 0 then
    for v_row in
      select distinct on (c.request) c.request,
             case when c.epoch not in (0, v_epoch) then 'forked' else 'ahead' end as outcome
        from unnest(p_condition_requests, p_condition_epochs, p_condition_afters) c (request, epoch, after)
       where (c.epoch not in (0, v_epoch) or c.after > v_head)
         and c.request <> all (v_refused)
       order by c.request
    loop
      v_refused := v_refused || v_row.request;
      return query select v_row.request, v_row.outcome, v_head, v_epoch, null::timestamptz;
    end loop;

    for v_row in
      select distinct on (c.request) c.request, c.outcome, c.position
        from factwire.check_conditions(
          p_condition_requests, p_condition_afters, p_condition_namespaces, p_condition_types, p_condition_tags,
          v_head, p_visits_max) c
       where c.request <> all (v_refused)
       order by c.request
    loop
      v_refused := v_refused || v_row.request;
      return query select v_row.request, v_row.outcome, v_row.position, v_epoch, null::timestamptz;
    end loop;
  end if;

  return query
  with source as materialized (
    select v_head + row_number() over (order by n.place) as position, n.*, string_to_array(n.joined_tags, e'\x1f') as tags
      from unnest(p_requests, p_ids, p_namespaces, p_types, p_versions, p_tags, p_digests, p_documents)
             with ordinality n (request, id, namespace, type, version, joined_tags, digest, document, place)
     where n.request <> all (v_refused)
  ), registered as (
    insert into factwire.types (namespace, type, version)
    select distinct s.namespace, s.type, s.version
      from source s
     where not exists (
             select from factwire.types t
              where t.namespace = s.namespace and t.type = s.type and t.version = s.version)
  ), known as (
    insert into factwire.fact_ids (id, position, digest)
    select s.id, s.position, s.digest from source s
  ), tagged as (
    insert into factwire.fact_tags (tag, position)
    select t.tag, s.position
      from source s
     cross join lateral unnest(s.tags || ('t:' || s.namespace || '/' || s.type)) t (tag)
  ), stored as (
    insert into factwire.facts (position, id, published_at, namespace, type, version, tags, digest, document)
    select s.position, s.id, v_published_at, s.namespace, s.type, s.version, s.tags, s.digest, s.document
      from source s
     order by s.position
  )
  select s.request, 'appended', min(s.position), v_epoch, v_published_at
    from source s
   group by s.request;

  -- A hint that wakes the tails; an equal notification of the same transaction is sent once.
  if found then
    perform pg_notify('factwire', '');
  end if;
end
$$;
