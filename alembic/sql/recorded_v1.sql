-- What the fact says that this transaction has just appended to tell of an erasure or a redaction: its payload and time.
--
-- The functions with the owner's rights, which destroy, take neither an author nor a text from their caller. They act
-- only upon a fact of the reserved namespace that stands at the head and is of this transaction, which holds the lock of
-- the log: whoever may not append cannot erase, and nothing is erased without a record.
create function factwire.recorded(p_type text, out payload jsonb, out published_at timestamptz)
language plpgsql
stable
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  select convert_from(
           factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document),
           'UTF8')::jsonb -> 'payload',
         f.published_at
    into payload, published_at
    from factwire.facts f
   where f.position = factwire.head()
     and f.namespace = 'factwire'
     and f.type = p_type
     and f.xmin = pg_current_xact_id()::xid;
  if payload is null then
    raise exception sqlstate 'FW008' using message = format('no %s of this transaction tells of it', p_type);
  end if;
end
$$;
