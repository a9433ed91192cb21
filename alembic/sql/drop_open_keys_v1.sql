-- Delete the entries of some open facts: a key and a position each.
create function factwire.drop_open_keys(p_subscription integer, p_keys bigint[], p_positions bigint[]) returns void
language sql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
  -- A look-up for each, with a limit: the plan is made while the table is empty, and a join would walk all that is open.
  delete from factwire.subscription_open_keys o
   where o.ctid = any (array(
           select x.tid
             from unnest(p_keys, p_positions) k (key, position)
            cross join lateral (
                    select y.ctid as tid
                      from factwire.subscription_open_keys y
                     where y.subscription = p_subscription and y.key = k.key and y.position = k.position
                     limit 1) x))
$$;
