-- Destroy the key of a data subject and record it as a fact, in one transaction.
--
-- The outcome is 'erased', 'known' (erased before) or 'unknown' (there is no such data subject; with p_unknown_too it is
-- created as erased, so that nothing can be published about it). Under the lock of the log: no fact encrypted with the
-- key can be appended afterwards. Runs with the privileges of its caller, who may append; see read_audit_fact.
create function factwire.erase_data_subject(
  p_data_subject text,
  p_unknown_too boolean,
  p_audit_id uuid,
  p_audit_type text,
  p_audit_digest bytea,
  p_audit_document bytea,
  p_audit_tags text[],
  out outcome text,
  out erased_at timestamptz,
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
  v_erased_at timestamptz;
  v_found boolean;
begin
  perform factwire.lock_log();
  select true, d.erased_at into v_found, v_erased_at from factwire.data_subjects d where d.id = p_data_subject;
  if v_erased_at is not null then
    outcome := 'known';
    perform factwire.wait_for_standby();
    erased_at := v_erased_at;
    select l.erasures into erasures from factwire.log l;
    return;
  end if;
  if v_found is null and not p_unknown_too then
    outcome := 'unknown';
    return;
  end if;
  outcome := 'erased';
  perform factwire.append_audit(p_audit_id, p_audit_type, p_audit_digest, p_audit_document, p_audit_tags);
  select d.erased_at, d.erasures into erased_at, erasures from factwire.destroy_data_key() d;
end
$$;
