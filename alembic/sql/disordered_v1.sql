-- Positions of a lease among p_positions that may not be acknowledged yet: an earlier fact of one of their keys is in the
-- lease as well, and stays in it, or may not be acknowledged itself.
create function factwire.disordered(p_lease factwire.subscription_leases, p_positions bigint[]) returns bigint[]
language plpgsql
immutable
as $$
declare
  v_found bigint[] := '{}';
  v_staying bigint[] := '{}';  -- keys of the facts that stay
  v_keys bigint[];
  v_key integer := 1;
  v_from integer;
begin
  for v_place in 1 .. cardinality(p_lease.positions) loop
    v_from := v_key;
    while v_key <= cardinality(p_lease.keys) and p_lease.key_places[v_key] = v_place loop
      v_key := v_key + 1;
    end loop;
    v_keys := p_lease.keys[v_from : v_key - 1];
    if p_lease.positions[v_place] <> all (p_positions) then
      v_staying := v_staying || v_keys;
    elsif v_keys && v_staying then
      v_staying := v_staying || v_keys;
      v_found := v_found || p_lease.positions[v_place];
    end if;
  end loop;
  return v_found;
end
$$;
