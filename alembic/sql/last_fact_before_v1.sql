-- The last fact published before a time, or position 0. published_at never decreases with the position, so the fact is
-- found by binary search, without an index on the time.
create function factwire.last_fact_before(p_time timestamptz, out "position" bigint, out published_at timestamptz)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_low bigint;
  v_high bigint := factwire.head();
  v_middle bigint;
  v_published_at timestamptz;
begin
  select l.floor into v_low from factwire.log l;
  "position" := v_low;
  while v_low < v_high loop
    v_middle := v_low + (v_high - v_low + 1) / 2;
    select f.published_at into v_published_at from factwire.facts f where f.position = v_middle;
    if v_published_at < p_time then
      v_low := v_middle;
      "position" := v_middle;
      published_at := v_published_at;
    else
      v_high := v_middle - 1;
    end if;
  end loop;
end
$$;
