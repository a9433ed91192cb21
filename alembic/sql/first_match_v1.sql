-- The first match of one item behind a position, or how far the search for it came; `id` is that of the fact there, which
-- proves later that history has not been replaced up to it.
create function factwire.first_match(
  p_scope text,
  p_types text,
  p_tags text,
  p_after bigint,
  p_work_max integer,
  p_seconds double precision,
  out match bigint,
  out through bigint,
  out id uuid,
  out head bigint,
  out epoch integer
)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_walk record;
begin
  head := factwire.head();
  select l.epoch into epoch from factwire.log l;
  v_walk := factwire.walk_item(
    p_scope, string_to_array(p_types, e'\x1f'), string_to_array(p_tags, e'\x1f'), p_after, greatest(head, p_after), false,
    1, p_work_max, clock_timestamp() + make_interval(secs => p_seconds), 0, 0);
  match := v_walk.positions[1];
  through := v_walk.through;
  select f.id into id from factwire.facts f where f.position = v_walk.through;
end
$$;
