-- Payload and time of the fact that this transaction has just appended to record an erasure or a redaction.
--
-- The functions that destroy run with the owner's privileges and take neither an author nor a text from their caller. They act
-- only on a fact of the reserved namespace that stands at the head and is of this transaction, which holds the lock of
-- the log. So nobody without the privilege to append can erase, and nothing is erased without a record that every reader
-- understands alike: each of `p_members` is a text, occurs once, and is not encrypted.
create function factwire.read_audit_fact(
  p_type text, p_members text[], out payload jsonb, out published_at timestamptz
)
language plpgsql
stable
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_fact json;
begin
  select convert_from(
           factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document),
           'UTF8')::json,
         f.published_at
    into v_fact, published_at
    from factwire.facts f
   where f.position = factwire.head()
     and f.namespace = 'factwire'
     and f.type = p_type
     and f.xmin = pg_current_xact_id()::xid
     and not exists (select from factwire.sealed s where s.position = f.position);
  if v_fact is null
     or (select count(*) from json_object_keys(v_fact) k where k = 'payload') <> 1
     or json_typeof(v_fact -> 'payload') <> 'object' then
    raise exception sqlstate 'FW008' using message = format('this transaction has not recorded it as a %s', p_type);
  end if;
  payload := v_fact -> 'payload';
  if exists (
       select from unnest(p_members) m (name)
        where (select count(*) from json_object_keys(v_fact -> 'payload') k where k = m.name) <> 1
           or jsonb_typeof(payload -> m.name) <> 'string') then
    raise exception sqlstate 'FW008' using message = format('this transaction has not recorded it as a %s', p_type);
  end if;
end
$$;
