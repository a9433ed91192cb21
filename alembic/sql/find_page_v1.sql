-- Find the facts of one page of history, for compose_page to put together.
--
-- p_until null means the head. A page that is too large is cut in proportion, until it fits or is one fact: to find the
-- exact place, a running sum would cost more than putting the facts together. `through` moves on although nothing
-- matched; see walk_query. `positions` is null where the page is every fact behind p_after
-- up to `through`.
create function factwire.find_page(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_visits_max integer,
  p_bytes_max integer,
  out head bigint,
  out epoch integer,
  out through bigint,
  out facts integer,
  out last_position bigint,
  out positions bigint[]
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
  v_until bigint;
  v_bytes bigint;
begin
  head := factwire.head();
  select l.epoch into epoch from factwire.log l;
  v_until := greatest(least(coalesce(p_until, head), head), p_after);

  if cardinality(p_tags) = 0 and not p_descending then
    -- Every fact: positions are dense, so a range of the primary key is the page.
    through := least(p_after + p_hits_max, v_until);
    loop
      select count(*), max(f.position), sum(octet_length(f.document)) into facts, last_position, v_bytes
        from factwire.facts f
       where f.position > p_after
         and f.position <= through;
      exit when facts <= 1 or v_bytes <= p_bytes_max;
      through := p_after + greatest(1, facts * p_bytes_max::bigint / v_bytes);
    end loop;
    return;
  end if;

  select w.positions, w.through into positions, through
    from factwire.walk_query(
      p_namespaces, p_types, p_tags, p_after, v_until, p_descending, p_hits_max, p_visits_max) w;
  facts := cardinality(positions);
  loop
    select sum(octet_length(f.document)) into v_bytes
      from unnest(positions[:facts]) c (position)
      join factwire.facts f on f.position = c.position;
    exit when facts <= 1 or v_bytes <= p_bytes_max;
    facts := greatest(1, facts * p_bytes_max::bigint / v_bytes);
  end loop;
  last_position := positions[facts];
  if facts < cardinality(positions) then
    through := last_position - p_descending::int;
    positions := positions[:facts];
  end if;
end
$$;
