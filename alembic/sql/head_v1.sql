-- The position of the newest fact, or the floor if every fact was archived.
create function factwire.head() returns bigint
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_head bigint;
begin
  select f.position into v_head from factwire.facts f order by f.position desc limit 1;
  if v_head is null then
    select l.floor into v_head from factwire.log l;
  end if;
  return v_head;
end
$$;
