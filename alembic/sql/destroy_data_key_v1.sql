-- Destroy the key of the data subject that this transaction's DataSubjectErased names; see read_audit_fact.
create function factwire.destroy_data_key(out erased_at timestamptz, out erasures bigint)
language plpgsql
security definer
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_data_subject text;
begin
  select r.payload ->> 'data_subject', r.published_at into v_data_subject, erased_at
    from factwire.read_audit_fact('DataSubjectErased', '{data_subject}') r;
  insert into factwire.data_subjects as d (id, key_id, erased_at)
  values (v_data_subject, gen_random_uuid(), erased_at)
      on conflict (id) do update
     set wrapped_key = null,
         master_key = null,
         erased_at = excluded.erased_at;
  -- Every process that caches payloads reads this count with each read of the log, and drops them.
  update factwire.log as l set erasures = l.erasures + 1 returning l.erasures into erasures;
end
$$;
