-- Add the facts since the last run to type_counts and namespace_counts, at most p_facts_max. One process at a time.
-- Returns the number of positions counted. Not part of append, so that its lock is not held for counting.
create function factwire.fold_counts(p_facts_max integer) returns bigint
language plpgsql
security definer
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_after bigint;
  v_until bigint;
begin
  if not pg_try_advisory_xact_lock(l.lock_key + 2) from factwire.log l then
    return 0;
  end if;
  select c.through, least(c.through + p_facts_max, factwire.head()) into v_after, v_until from factwire.counted c;
  if v_until <= v_after then
    return 0;
  end if;
  insert into factwire.type_counts as k (namespace, type, version, facts, last_position)
  select f.namespace, f.type, f.version, count(*), max(f.position)
    from factwire.facts f
   where f.position > v_after
     and f.position <= v_until
   group by f.namespace, f.type, f.version
      on conflict (namespace, type, version) do update
     set facts = k.facts + excluded.facts,
         last_position = excluded.last_position;
  insert into factwire.namespace_counts as k (namespace, facts, last_position)
  select f.namespace, count(*), max(f.position)
    from factwire.facts f
   where f.position > v_after
     and f.position <= v_until
   group by f.namespace
      on conflict (namespace) do update
     set facts = k.facts + excluded.facts,
         last_position = excluded.last_position;
  update factwire.counted set through = v_until;
  return v_until - v_after;
end
$$;
