-- True if a page of find_page contains a fact with an encrypted payload, and so cannot be built in the database.
create function factwire.contains_sealed(p_after bigint, p_through bigint, p_positions bigint[]) returns boolean
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
  if p_positions is null then
    return exists (select from factwire.sealed s where s.position > p_after and s.position <= p_through);
  end if;
  return exists (
           select from factwire.sealed s
            where s.position >= least(p_positions[1], p_positions[cardinality(p_positions)])
              and s.position <= greatest(p_positions[1], p_positions[cardinality(p_positions)]))
     and exists (
           select from unnest(p_positions) c (position)
            cross join lateral (select from factwire.sealed s where s.position = c.position limit 1) s);
end
$$;
