-- Positions of a lease that go back if those of p_positions do: these, and each later one that shares a key with one of
-- them, or with one that goes back because of them.
create function factwire.returning_with(p_lease factwire.subscription_leases, p_positions bigint[]) returns bigint[]
language plpgsql
immutable
as $$
declare
  v_found bigint[] := '{}';
  v_going bigint[] := '{}';  -- keys of the facts that go back
  v_keys bigint[];
  v_key integer := 1;
  v_from integer;
begin
  for v_place in 1 .. coalesce(cardinality(p_lease.positions), 0) loop
    v_from := v_key;
    while v_key <= cardinality(p_lease.keys) and p_lease.key_places[v_key] = v_place loop
      v_key := v_key + 1;
    end loop;
    v_keys := p_lease.keys[v_from : v_key - 1];
    if p_lease.positions[v_place] = any (p_positions) or v_keys && v_going then
      v_found := v_found || p_lease.positions[v_place];
      v_going := v_going || v_keys;
    end if;
  end loop;
  return v_found;
end
$$;
