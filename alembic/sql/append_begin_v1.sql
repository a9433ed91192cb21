-- Part of append and append_plain, which include it: take the lock of the log, read its head and detect forks.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception sqlstate 'FW002' using message = 'append needs READ COMMITTED';
  end if;
  if v_count > 1000 then
    raise exception sqlstate 'FW003' using message = 'append takes at most 1000 facts: readers of fact_tags look no further back';
  end if;

  -- PostgreSQL reports a cancelled wait for the synchronous standby by a warning only, at the commit, when the settings of
  -- functions have ended. A role may have switched warnings off.
  if current_setting('client_min_messages') = 'error' then
    perform set_config('client_min_messages', 'warning', true);
  end if;

  -- The order of the log is made here (P2). The lock is held until the commit is visible, so positions are assigned and
  -- become visible one call after the other: a reader of position n sees everything before it. The lock must be a
  -- statement of its own: the next statement then takes its snapshot after the wait. In one statement with the read
  -- of the head, the snapshot would be older than the wait, and the head would lack the facts of the transaction that
  -- held the lock; likewise under REPEATABLE READ, hence the check above. A sequence without the lock would let a
  -- reader pass position n while n - 1 is not committed yet, and never return to it.
  perform pg_advisory_xact_lock(l.lock_key) from factwire.log l;

  select l.epoch, l.erasures, l.forked_at, l.forked_after, l.floor, f.id,
         coalesce(f.position, l.floor), f.id, f.published_at, c.hash, c.last_position, c.bytes_so_far,
         exists (select from factwire.types t
                  where t.namespace = p_kind_namespaces[1] and t.type = p_kind_types[1]
                    and t.version = p_kind_versions[1])::integer
    into epoch, erasures, v_forked_at, v_forked_after, v_floor, v_witness,
         head, head_id, v_time, v_hash, v_chained_to, v_bytes, v_known_kinds
    from factwire.log l
    left join lateral (
           select s.position, s.id, s.published_at from factwire.facts s order by s.position desc limit 1) f on true
    left join lateral (
           select h.hash, h.last_position, h.bytes_so_far from factwire.chain h order by h.last_position desc limit 1) c on true;
  if v_forked_at is not null then
    raise exception sqlstate 'FW006'
      using message = 'history was replaced: raise the epoch', detail = coalesce(v_forked_after::text, '');
  end if;
  -- The witness of a process is nearly always the head.
  if p_witness_position <> head then
    select w.id into v_witness from factwire.facts w where w.position = p_witness_position;
  end if;
  if p_witness_epoch > epoch
     or (p_witness_epoch = epoch and p_witness_position > v_floor and v_witness is distinct from p_witness_id) then
    raise exception sqlstate 'FW006' using message = 'history was replaced since this process read it', detail = '';
  end if;
  -- Most calls have one kind of facts: to count several takes as long as the whole read of the head.
  if cardinality(p_kind_types) > 1 then
    select count(*) into v_known_kinds
      from unnest(p_kind_namespaces, p_kind_types, p_kind_versions) k (namespace, type, version)
     where exists (select from factwire.types t
                    where t.namespace = k.namespace and t.type = k.type and t.version = k.version);
  end if;
  -- greatest() ignores a null, and the clock of a server may step back: published_at must not.
  published_at := greatest(clock_timestamp(), v_time);
