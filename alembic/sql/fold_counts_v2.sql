-- Add the facts since the last run to type_counts, namespace_counts and activity, at most p_facts_max. One process at a
-- time. Returns the number of positions counted. Not part of append, so that its lock is not held for counting.
-- In a database from before there was activity, facts that were counted then are added to it first, a part in each run.
create or replace function factwire.fold_counts(p_facts_max integer) returns bigint
language plpgsql
security definer
set search_path = factwire, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set timezone = 'UTC'
as $$
declare
  v_through bigint;
  v_after bigint;
  v_until bigint;
begin
  if not pg_try_advisory_xact_lock(l.lock_key + 2) from factwire.log l then
    return 0;
  end if;
  select c.through, c.activity_through into v_through, v_after from factwire.counted c;
  v_until := least(v_after + p_facts_max, case when v_after < v_through then v_through else factwire.head() end);
  if v_until <= v_after then
    return 0;
  end if;
  with grouped as materialized (
    select f.namespace, f.type, f.version, date_trunc('minute', f.published_at) as minute,
           count(*) as facts, max(f.position) as last_position
      from factwire.facts f
     where f.position > v_after
       and f.position <= v_until
     group by f.namespace, f.type, f.version, date_trunc('minute', f.published_at)),
  by_type as (
    insert into factwire.type_counts as k (namespace, type, version, facts, last_position)
    select g.namespace, g.type, g.version, sum(g.facts), max(g.last_position)
      from grouped g
     where v_after >= v_through
     group by g.namespace, g.type, g.version
        on conflict (namespace, type, version) do update
       set facts = k.facts + excluded.facts,
           last_position = excluded.last_position),
  by_namespace as (
    insert into factwire.namespace_counts as k (namespace, facts, last_position)
    select g.namespace, sum(g.facts), max(g.last_position)
      from grouped g
     where v_after >= v_through
     group by g.namespace
        on conflict (namespace) do update
       set facts = k.facts + excluded.facts,
           last_position = excluded.last_position)
  insert into factwire.activity as a (namespace, minute, type, facts)
  select g.namespace, g.minute, g.type, sum(g.facts)
    from grouped g
   group by g.namespace, g.minute, g.type
      on conflict (namespace, minute, type) do update
     set facts = a.facts + excluded.facts;
  update factwire.counted set through = greatest(through, v_until), activity_through = v_until;
  return v_until - v_after;
end
$$;
