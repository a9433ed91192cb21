-- Remove the payload of the fact that this transaction's FactRedacted names; see read_audit_fact. The row in `redactions`
-- makes allow_redaction pass the change.
create function factwire.remove_payload(out redacted_at timestamptz, out erasures bigint)
language plpgsql
security definer
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_payload jsonb;
  v_id uuid;
  v_position bigint;
  v_namespace text;
  v_left bytea;
  v_content_at integer;
begin
  select r.payload, r.published_at into v_payload, redacted_at
    from factwire.read_audit_fact('FactRedacted', '{id,reason,digest}') r;
  select f.position, f.id, f.namespace,
         factwire.redact_document(
           factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document))
    into v_position, v_id, v_namespace, v_left
    from factwire.facts f
   where f.position = (v_payload ->> 'position')::bigint
     and f.id::text = v_payload ->> 'id';
  if v_position is null or v_namespace = 'factwire' then
    raise exception sqlstate 'FW008' using message = 'the redaction names no fact that can be redacted';
  end if;
  v_content_at := length(v_position::text) + 103;  -- after position, time and id
  v_left := substr(v_left, v_content_at, octet_length(v_left) - v_content_at);
  if v_payload ->> 'digest' is distinct from encode(sha256(v_left), 'hex') then
    raise exception sqlstate 'FW007'
      using message = 'the digest is not that of the redacted fact';
  end if;
  insert into factwire.redactions (position, fact_id, reason, redacted_at)
  values (v_position, v_id, v_payload ->> 'reason', redacted_at);
  perform set_config('factwire.redacting', pg_current_xact_id()::text, true);
  update factwire.facts as f set document = factwire.redact_document(f.document) where f.position = v_position;
  update factwire.sealed as s set seal = substr(s.seal, 1, 32) where s.position = v_position;
  perform set_config('factwire.redacting', '', true);
  update factwire.log as l set erasures = l.erasures + 1 returning l.erasures into erasures;
end
$$;
