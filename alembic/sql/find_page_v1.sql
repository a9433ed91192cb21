-- Find the facts of one page of history, for compose_page to build.
--
-- p_until null means the head. A page that is too large is cut in proportion; the exact place is searched only if that was
-- far off, because a running sum costs more than building the page. At least one fact remains.
-- If the chain shows that the next facts are small enough, their sizes are not read: that would be a quarter of the work.
-- `through` advances even if nothing matched; see walk_query. `positions` is null if the page is every fact after p_after up
-- to `through`.
create function factwire.find_page(
  p_scopes text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_work_max integer,
  p_bytes_max integer,
  p_seconds double precision,
  p_grid integer,
  p_grids_max integer,
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
  v_far bigint;
  v_near bigint;
begin
  head := factwire.head();
  select l.epoch into epoch from factwire.log l;
  v_until := greatest(least(coalesce(p_until, head), head), p_after);

  if cardinality(p_tags) = 0 and not p_descending then
    -- Every fact: positions are gapless, so a range of the primary key is the page.
    through := least(p_after + p_hits_max, v_until);
    v_bytes := factwire.document_bytes_max(p_after, through);
    if v_bytes > p_bytes_max then
      v_near := p_after + greatest(1, (through - p_after) * p_bytes_max / v_bytes);
      v_bytes := factwire.document_bytes_max(p_after, v_near);
    end if;
    if v_bytes <= p_bytes_max and (v_near is null or v_bytes >= p_bytes_max / 2) then
      through := coalesce(v_near, through);
      facts := through - p_after;
      last_position := nullif(through, p_after);
      return;
    end if;
    select count(*), max(f.position), sum(octet_length(f.document)) into facts, last_position, v_bytes
      from factwire.facts f
     where f.position > p_after
       and f.position <= through;
    if facts < through - p_after then
      perform factwire.raise_missing_fact(
        (select min(c.position)
           from generate_series(p_after + 1, through) c (position)
          where not exists (select from factwire.facts f where f.position = c.position)));
    end if;
    if v_bytes > p_bytes_max and facts > 1 then
      v_far := through;
      through := p_after + greatest(1, facts * p_bytes_max::bigint * 19 / 20 / v_bytes);
      select count(*), max(f.position), sum(octet_length(f.document)) into facts, last_position, v_bytes
        from factwire.facts f
       where f.position > p_after
         and f.position <= through;
      if v_bytes > p_bytes_max or v_bytes < p_bytes_max / 2 then
        select count(*), max(s.position) into facts, last_position
          from (select f.position,
                       octet_length(f.document) as bytes,
                       sum(octet_length(f.document)) over (order by f.position rows unbounded preceding) as bytes_so_far
                  from factwire.facts f
                 where f.position > p_after
                   and f.position <= v_far) s
         where s.bytes_so_far <= greatest(p_bytes_max, s.bytes);
      end if;
      through := last_position;
    end if;
    return;
  end if;

  select w.positions, w.through into positions, through
    from factwire.walk_query(
      p_scopes, p_types, p_tags, p_after, v_until, p_descending, p_hits_max, p_work_max, p_seconds, p_grid,
      p_grids_max) w;
  facts := cardinality(positions);
  if not p_descending and facts > 0 and facts = through - p_after
     and factwire.document_bytes_max(p_after, through) <= p_bytes_max then
    -- Every fact after all, as for a reader that may read nearly everything.
    last_position := through;
    positions := null;
    return;
  end if;
  select sum(f.bytes) into v_bytes
    from unnest(positions) c (position)
   cross join lateral (
           select octet_length(s.document) as bytes from factwire.facts s where s.position = c.position limit 1) f;
  if v_bytes > p_bytes_max and facts > 1 then
    facts := greatest(1, facts * p_bytes_max::bigint * 19 / 20 / v_bytes);
    select sum(f.bytes) into v_bytes
      from unnest(positions[:facts]) c (position)
     cross join lateral (
             select octet_length(s.document) as bytes from factwire.facts s where s.position = c.position limit 1) f;
    if v_bytes > p_bytes_max or v_bytes < p_bytes_max / 2 then
      select count(*) into facts
        from (select f.bytes, sum(f.bytes) over (order by c.place rows unbounded preceding) as bytes_so_far
                from unnest(positions) with ordinality c (position, place)
               cross join lateral (
                       select octet_length(s.document) as bytes
                         from factwire.facts s where s.position = c.position limit 1) f) s
       where s.bytes_so_far <= greatest(p_bytes_max, s.bytes);
    end if;
  end if;
  last_position := positions[facts];
  if facts < cardinality(positions) then
    through := last_position - p_descending::int;
    positions := positions[:facts];
  end if;
end
$$;
