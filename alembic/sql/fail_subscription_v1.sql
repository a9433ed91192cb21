-- Pause a subscription with `on_failure: pause`, since a fact has used up its attempts.
create function factwire.fail_subscription(p_subscription integer, p_position bigint, p_reason text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update factwire.subscriptions s
     set paused_at = clock_timestamp(), failed = true, revision = s.revision + 1,
         reason = left('the fact at position ' || p_position || ' has used up its attempts'
                         || coalesce(': ' || p_reason, ''), 1000)
   where s.id = p_subscription and s.paused_at is null
$$;
