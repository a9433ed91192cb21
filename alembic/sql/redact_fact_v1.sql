-- Remove the payload of a stored fact and record it as a fact, in one transaction.
--
-- The outcome is 'redacted', 'known' (redacted before), 'unknown' (no such fact) or 'reserved' (the facts that record
-- erasures and redactions stay). Runs with the privileges of its caller, who may append; see read_audit_fact.
create function factwire.redact_fact(
  p_id uuid,
  p_reason text,
  p_audit_id uuid,
  p_audit_type text,
  p_audit_digest bytea,
  p_audit_document bytea,
  p_audit_tags text[],
  out outcome text,
  out "position" bigint,
  out reason text,
  out redacted_at timestamptz,
  out erasures bigint
)
language plpgsql
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_position bigint;
  v_namespace text;
begin
  perform factwire.lock_log();
  select f.position, f.namespace
    into v_position, v_namespace
    from factwire.fact_ids k
   cross join lateral (select q.position, q.namespace from factwire.facts q where q.position = k.position limit 1) f
   where k.id = p_id;
  position := v_position;
  if v_position is null or v_namespace = 'factwire' then
    outcome := case when v_position is null then 'unknown' else 'reserved' end;
    return;
  end if;
  select r.reason, r.redacted_at into reason, redacted_at from factwire.redactions r where r.position = v_position;
  if redacted_at is not null then
    outcome := 'known';
    perform factwire.wait_for_standby();
    select l.erasures into erasures from factwire.log l;
    return;
  end if;
  outcome := 'redacted';
  reason := p_reason;
  perform factwire.append_audit(p_audit_id, p_audit_type, p_audit_digest, p_audit_document, p_audit_tags);
  select r.redacted_at, r.erasures into redacted_at, erasures from factwire.remove_payload() r;
end
$$;
