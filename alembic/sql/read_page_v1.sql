-- Read one page of history as ready bytes: SSE events, NDJSON lines or the elements of a JSON array.
--
-- One statement, one snapshot: `head` and the page belong together. The facts are composed here, so that the service
-- handles one value a page and not one a fact. p_form is 'events', 'typed-events', 'lines' or 'elements' (each element
-- followed by a comma). p_until null means the head. A page holds at least one fact even if that is larger than
-- p_bytes_max, and `through` moves on although nothing matched; see walk_query.
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
set jit = off
as $$
declare
  v_until bigint;
  v_positions bigint[];
  v_fitting integer;
  v_events constant boolean := p_form in ('events', 'typed-events');
  v_typed constant boolean := p_form = 'typed-events';
  v_before text;
  v_behind constant bytea := case p_form when 'lines' then '\x0a'::bytea when 'elements' then ','::bytea else '\x0a0a'::bytea end;
begin
  head := factwire.head();
  select l.epoch into epoch from factwire.log l;
  v_until := least(coalesce(p_until, head), head);
  select w.positions, w.through into v_positions, through
    from factwire.walk_query(
      p_namespaces, p_types, p_tags, p_after, greatest(v_until, p_after), p_descending, p_hits_max, p_visits_max) w;
  facts := cardinality(v_positions);
  if facts = 0 then
    body := ''::bytea;
    return;
  end if;

  select count(*) filter (where s.bytes <= p_bytes_max) into v_fitting
    from (select sum(octet_length(f.document) + 200) over (order by c.place) as bytes
            from unnest(v_positions) with ordinality c (position, place)
            join factwire.facts f on f.position = c.position) s;
  if v_fitting < facts then
    facts := greatest(v_fitting, 1);
    v_positions := v_positions[1:facts];
    through := v_positions[facts] - p_descending::int;
  end if;
  last_position := v_positions[facts];

  v_before := case when v_events then 'id: ' || epoch || ':' else '{"position":' end;
  select string_agg(
           convert_to(
             case when v_typed then 'event: ' || s.namespace || '/' || s.type || e'\n' else '' end
             || v_before || s.position
             || case when v_events then e'\ndata: {"position":' || s.position else '' end
             || ',"published_at":"' || to_char(s.published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '",',
             'UTF8')
           || s.document || v_behind,
           ''::bytea)
    into body
    from (select f.position, f.published_at, f.namespace, f.type, f.document
            from unnest(v_positions) with ordinality c (position, place)
            join factwire.facts f on f.position = c.position
           order by c.place) s;
end
$$;
