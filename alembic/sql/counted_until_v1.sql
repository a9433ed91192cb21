-- The time before which every fact is in activity: in whole seconds if there are facts to count, and null if none is counted.
create function factwire.counted_until() returns timestamptz
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_through bigint;
begin
  select c.activity_through into v_through from factwire.counted c;
  if v_through >= factwire.head() then
    return clock_timestamp();
  end if;
  return (select date_trunc('second', f.published_at) from factwire.facts f where f.position = v_through);
end
$$;
