-- Read one page of history as ready bytes: SSE events, NDJSON lines or the elements of a JSON array.
--
-- One statement, one snapshot: `head` and the page belong together. A fact is stored as its event from its position
-- on, `<position>\ndata: {"position":<position>,…`, so that a page of events is facts with a constant between them, and
-- lines are what stands behind `data: `. The facts are put together here, so that the service handles one value a
-- page and not one a fact. p_form is 'events', 'typed-events', 'lines' or 'elements' (each element followed by a comma).
-- p_until null means the head. A page holds at least one fact even if that is larger than p_bytes_max, and `through`
-- moves on although nothing matched; see walk_query.
create function factwire.read_page(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_visits_max integer,
  p_bytes_max integer,
  p_form text,
  out head bigint,
  out epoch integer,
  out through bigint,
  out facts integer,
  out last_position bigint,
  out body bytea
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
  v_positions bigint[];
  v_id text;
  v_first bytea := '';
  v_behind bytea;
begin
  head := factwire.head();
  select l.epoch into epoch from factwire.log l;
  v_id := 'id: ' || epoch || ':';
  if p_form = 'events' then
    v_first := convert_to(v_id, 'UTF8');
  end if;
  v_behind := convert_to(case p_form when 'lines' then e'\n' when 'elements' then ',' else e'\n\n' end, 'UTF8');
  v_until := greatest(least(coalesce(p_until, head), head), p_after);

  if cardinality(p_tags) = 0 and not p_descending then
    -- Every fact: positions are dense, so a range of the primary key is the page.
    through := least(p_after + p_hits_max, v_until);
    if (select sum(octet_length(f.document)) from factwire.facts f where f.position > p_after and f.position <= through)
       > p_bytes_max then
      select max(s.position) into through
        from (select f.position,
                     sum(octet_length(f.document)) over (order by f.position rows unbounded preceding)
                       - octet_length(f.document) as bytes_before
                from factwire.facts f
               where f.position > p_after
                 and f.position <= through) s
       where s.bytes_before <= p_bytes_max;
    end if;
    select count(*), max(s.position),
           string_agg(factwire.formed(p_form, v_id, s.position, s.namespace, s.type, s.document), v_behind || v_first)
      into facts, last_position, body
      from (select f.position, f.namespace, f.type, f.document
              from factwire.facts f
             where f.position > p_after
               and f.position <= through
             order by f.position) s;
    through := greatest(least(through, last_position), p_after);
  else
    select w.positions, w.through into v_positions, through
      from factwire.walk_query(
        p_namespaces, p_types, p_tags, p_after, v_until, p_descending, p_hits_max, p_visits_max) w;
    select count(*) into facts
      from (select sum(octet_length(f.document)) over (order by c.place rows unbounded preceding)
                     - octet_length(f.document) as bytes_before
              from unnest(v_positions) with ordinality c (position, place)
              join factwire.facts f on f.position = c.position) s
     where s.bytes_before <= p_bytes_max;
    last_position := v_positions[facts];
    if facts < cardinality(v_positions) then
      through := last_position - p_descending::int;
    end if;
    select string_agg(factwire.formed(p_form, v_id, s.position, s.namespace, s.type, s.document), v_behind || v_first)
      into body
      from (select f.position, f.namespace, f.type, f.document
              from unnest(v_positions[:facts]) with ordinality c (position, place)
              join factwire.facts f on f.position = c.position
             order by c.place) s;
  end if;
  body := coalesce(v_first || body || v_behind, ''::bytea);
end
$$;
