-- Write what the effects of the appended requests say, in the transaction of their facts. refuse_effects has locked the rows.
create function factwire.apply_effects(p_effects jsonb, p_refused integer[], p_published_at timestamptz) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update factwire.keys k
     set expiry_recorded_at = p_published_at
    from jsonb_to_recordset(p_effects) e (request integer, kind text, key_id text)
   where e.kind = 'expiry' and e.request <> all (p_refused) and k.id = e.key_id
$$;
