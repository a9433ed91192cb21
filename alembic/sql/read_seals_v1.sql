-- The seals of the facts at some positions, in their order, with the wrapped keys of their data subjects: as many as fit
-- into p_bytes_max, at least one.
create function factwire.read_seals(p_positions bigint[], p_bytes_max integer)
returns table (
  "position" bigint, data_subject text, seal bytea, key_id uuid, wrapped_key bytea, master_key text, erased boolean)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  select s.position, s.data_subject, s.seal, d.key_id, d.wrapped_key, d.master_key, d.erased_at is not null
    from (select c.place,
                 q.position,
                 coalesce(sum(octet_length(q.seal)) over (
                   order by c.place rows between unbounded preceding and 1 preceding), 0) as bytes_before
            from unnest(p_positions) with ordinality c (position, place)
           cross join lateral (select * from factwire.sealed u where u.position = c.position limit 1) q) b
   cross join lateral (select * from factwire.sealed u where u.position = b.position limit 1) s
    left join factwire.data_subjects d on d.id = s.data_subject
   where b.bytes_before <= p_bytes_max
   order by b.place;
end
$$;
