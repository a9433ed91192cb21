-- Take the payload out of the fact that this transaction's FactRedacted tells of; see recorded. `redactions` is what lets
-- allow_redaction pass the change.
create function factwire.take_out_payload(out redacted_at timestamptz, out erasures bigint)
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
    from factwire.recorded('FactRedacted', '{id,reason,digest}') r;
  select f.position, f.id, f.namespace,
         factwire.redacted(
           factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document))
    into v_position, v_id, v_namespace, v_left
    from factwire.facts f
   where f.position = (v_payload ->> 'position')::bigint
     and f.id::text = v_payload ->> 'id';
  if v_position is null or v_namespace = 'factwire' then
    raise exception sqlstate 'FW008' using message = 'the redaction tells of no fact that can be redacted';
  end if;
  -- Services of the version before do not know how this fact is stored, and would put a false digest on record.
  v_content_at := length(v_position::text) + 103;  -- behind position, time and id
  v_left := substr(v_left, v_content_at, octet_length(v_left) - v_content_at);
  if v_payload ->> 'digest' is distinct from encode(sha256(v_left), 'hex') then
    raise exception sqlstate 'FW007'
      using message = 'the digest is not that of what the redaction leaves: redact with a newer version';
  end if;
  insert into factwire.redactions (position, fact_id, reason, redacted_at)
  values (v_position, v_id, v_payload ->> 'reason', redacted_at);
  perform set_config('factwire.redacting', pg_current_xact_id()::text, true);
  update factwire.facts as f set document = factwire.redacted(f.document) where f.position = v_position;
  update factwire.sealed as s set seal = substr(s.seal, 1, 32) where s.position = v_position;
  perform set_config('factwire.redacting', '', true);
  update factwire.log as l set erasures = l.erasures + 1 returning l.erasures into erasures;
end
$$;
