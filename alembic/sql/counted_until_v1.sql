-- The time before which every fact is in activity, in whole seconds: that of the first fact that is not, or the present.
create function factwire.counted_until() returns timestamptz
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
  return date_trunc('second', coalesce(
    (select f.published_at
       from factwire.facts f
      where f.position > (select c.activity_through from factwire.counted c)
      order by f.position
      limit 1),
    clock_timestamp()));
end
$$;
