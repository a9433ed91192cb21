-- Upper bound of the bytes of the documents in (p_after, p_through], from the running sum in the chain: two entries
-- instead of every fact between them. It counts whole appends, up to two more than asked for. Null where the sum does
-- not reach.
create function factwire.document_bytes_max(p_after bigint, p_through bigint) returns bigint
language plpgsql
stable
as $$
begin
  return (
    select u.bytes_so_far - case when l.last_position is null then 0 else l.bytes_so_far end
      from (select c.bytes_so_far
              from factwire.chain c
             where c.last_position >= p_through
             order by c.last_position
             limit 1) u
      left join lateral (
             select c.last_position, c.bytes_so_far
               from factwire.chain c
              where c.last_position <= p_after
              order by c.last_position desc
              limit 1) l on true);
end
$$;
