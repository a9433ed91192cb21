-- Put the facts of a page together as ready bytes: SSE events, NDJSON lines or the elements of a JSON array.
--
-- A fact is stored as its event from its position on, `<position>\ndata: {"position":<position>,…`, so that a page of
-- events is facts with a constant between them, and lines are what stands behind `data: `. The facts are put together
-- here, so that the service handles one value a page and not one a fact. p_form is 'events', 'typed-events', 'lines' or
-- 'elements' (each followed by a comma). The facts are those of find_page, in the same statement and so the same
-- snapshot. They are the only result: as one of several, PL/pgSQL would copy a page three times more.
create function factwire.compose_page(
  p_form text,
  p_epoch integer,
  p_after bigint,
  p_through bigint,
  p_positions bigint[]
) returns bytea
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
  v_id text := 'id: ' || p_epoch || ':';
  v_first bytea := convert_to(case p_form when 'events' then v_id else '' end, 'UTF8');
  v_behind bytea := convert_to(case p_form when 'lines' then e'\n' when 'elements' then ',' else e'\n\n' end, 'UTF8');
begin
  if p_positions is null then
    return coalesce(v_first || (
      select string_agg(factwire.formed(p_form, v_id, s.position, s.namespace, s.type, s.document), v_behind || v_first)
        from (select f.position, f.namespace, f.type, f.document
                from factwire.facts f
               where f.position > p_after
                 and f.position <= p_through
               order by f.position) s) || v_behind, ''::bytea);
  end if;
  return coalesce(v_first || (
    select string_agg(factwire.formed(p_form, v_id, s.position, s.namespace, s.type, s.document), v_behind || v_first)
      from (select f.position, f.namespace, f.type, f.document
              from unnest(p_positions) with ordinality c (position, place)
              join factwire.facts f on f.position = c.position
             order by c.place) s) || v_behind, ''::bytea);
end
$$;
