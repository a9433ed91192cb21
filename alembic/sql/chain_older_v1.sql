-- Begin the hash chain with the facts of before there was one, an entry for each moment of publishing, unless there are
-- more of them than p_facts_max: then it begins behind them. Needs the lock of the log.
create function factwire.chain_older(p_facts_max integer) returns bigint
language plpgsql
set jit = off
as $$
declare
  v_entry record;
  v_hash bytea := '';
  v_entries bigint := 0;
begin
  if (select count(*) from (select from factwire.facts limit p_facts_max + 1) f) > p_facts_max
     or exists (select from factwire.log l where l.floor > 0) then
    return 0;
  end if;
  for v_entry in
    select f.published_at, min(f.position) as first, max(f.position) as last,
           array_agg(f.id order by f.position) as ids, string_agg(k.digest, ''::bytea order by f.position) as digests
      from factwire.facts f
      join factwire.fact_ids k on k.id = f.id
     group by f.published_at
     order by min(f.position)
  loop
    v_hash := sha256(
      v_hash || int8send(v_entry.first) || int8send(v_entry.last) || timestamptz_send(v_entry.published_at)
        || array_send(v_entry.ids) || v_entry.digests);
    insert into factwire.chain (last_position, first_position, published_at, hash)
    values (v_entry.last, v_entry.first, v_entry.published_at, v_hash);
    v_entries := v_entries + 1;
  end loop;
  return v_entries;
end
$$;
