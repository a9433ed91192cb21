-- Read the newest facts one by one, starting with the fact at p_anchor: a reader that knows its id can tell if history
-- before it has changed. Then at least one fact after the anchor, of any size, and more up to p_bytes_max, each document
-- from `"id"` on. The anchor is not counted: a large one would hide all facts after it.
create function factwire.read_tail(p_anchor bigint, p_facts_max integer, p_bytes_max integer)
returns table (
  "position" bigint, published_at text, id uuid, namespace text, type text, document bytea)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  select s.position, to_char(s.published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
         s.id, s.namespace, s.type,
         substr(
           factwire.fact_json(s.position, s.published_at, s.id, s.namespace, s.type, s.version, s.document),
           length(s.position::text) + 59)
    from (select f.*,
                 sum(octet_length(f.document)) filter (where f.position > p_anchor)
                   over (order by f.position rows between unbounded preceding and 1 preceding) as bytes_before
            from factwire.facts f
           where f.position >= p_anchor
             and f.position <= p_anchor + p_facts_max
           order by f.position) s
   where coalesce(s.bytes_before, 0) <= p_bytes_max
   order by s.position;
end
$$;
