-- Take the payload out of a stored fact, and tell of it with a fact, in one transaction.
--
-- The outcome is 'redacted', 'known' (it was redacted before), 'unknown' (there is no such fact) or 'reserved' (the facts
-- that tell of erasures and redactions stay). `redactions` is what lets allow_redaction pass the change.
create or replace function factwire.redact_fact(
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
security definer
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_position bigint;
  v_namespace text;
  v_left bytea;
  v_content_at integer;
begin
  perform factwire.lock_log();
  select f.position, f.namespace,
         factwire.redacted(
           factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document))
    into v_position, v_namespace, v_left
    from factwire.fact_ids k
    join factwire.facts f on f.position = k.position
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
  -- Services of the version before do not know how this fact is stored, and would put a false digest on record.
  v_content_at := length(v_position::text) + 103;  -- behind position, time and id
  v_left := substr(v_left, v_content_at, octet_length(v_left) - v_content_at);
  if position(convert_to(encode(sha256(v_left), 'hex'), 'UTF8') in p_audit_document) = 0 then
    raise exception sqlstate 'FW007'
      using message = 'the digest is not that of what the redaction leaves: redact with a newer version';
  end if;
  outcome := 'redacted';
  reason := p_reason;
  redacted_at := factwire.append_audit(p_audit_id, p_audit_type, p_audit_digest, p_audit_document, p_audit_tags);
  insert into factwire.redactions (position, fact_id, reason, redacted_at)
  values (v_position, p_id, p_reason, redacted_at);
  perform set_config('factwire.redacting', pg_current_xact_id()::text, true);
  update factwire.facts as f set document = factwire.redacted(f.document) where f.position = v_position;
  update factwire.sealed as s set seal = substr(s.seal, 1, 32) where s.position = v_position;
  perform set_config('factwire.redacting', '', true);
  update factwire.log as l set erasures = l.erasures + 1 returning l.erasures into erasures;
end
$$;
