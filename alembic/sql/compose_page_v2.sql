-- Put the facts of a page together as ready bytes: SSE events, NDJSON lines or the elements of a JSON array.
--
-- In an event `data:` stands before `id:`, since some clients keep an id as soon as they have read its line: cut off
-- between the two, they would skip the fact. A document begins with the position before its own, so that what stands
-- between two facts of a dense page is the same everywhere: the end of one event, `\nid: <epoch>:`, goes on with the
-- number that the next document begins with. Of the first document that number is cut off, and the last id is put behind.
-- That way a page costs what copying it costs. It is gone only where every document of the page is as append writes it
-- (looked at where it begins and ends; a large one is fetched once for all of that); compose_each goes the longer one.
-- p_form is 'events', 'typed-events', 'lines' or 'elements' (each followed by a comma). The facts are those of find_page,
-- in the same statement and so the same snapshot. The page is the only result, and never in a variable: PL/pgSQL would
-- copy it each time.
create or replace function factwire.compose_page(
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
  v_digits constant integer := length(p_after::text);
  v_id constant text := e'\nid: ' || p_epoch || ':';
  v_between constant bytea := convert_to(
    case p_form when 'events' then v_id when 'lines' then e'\n' when 'elements' then ',' end, 'UTF8');
  v_behind constant bytea := convert_to(
    case p_form when 'events' then v_id || p_through || e'\n\n' when 'lines' then e'\n' when 'elements' then ',' end,
    'UTF8');
begin
  if p_positions is not null or p_form = 'typed-events' or v_digits <> length((p_through - 1)::text)
     or not factwire.begins_dense(p_after) then
    return factwire.compose_each(p_form, p_epoch, p_after, p_through, p_positions);
  end if;
  if p_form = 'events' then
    return coalesce(
      (select case when s.ready then substr(s.body, v_digits + 3) || v_behind end
         from (select count(*) filter (where factwire.is_dense(d.document, v_digits)) = p_through - p_after as ready,
                      string_agg(d.document, v_between) as body
                 from (select case when octet_length(f.document) > 2000 then f.document || ''::bytea
                                   else f.document end as document
                         from factwire.facts f
                        where f.position > p_after
                          and f.position <= p_through
                        order by f.position) d) s),
      factwire.compose_each(p_form, p_epoch, p_after, p_through, null));
  end if;
  return coalesce(
    (select case when s.ready then s.body || v_behind end
       from (select count(*) filter (where factwire.is_dense(d.document, v_digits)) = p_through - p_after as ready,
                    string_agg(substr(d.document, v_digits + 9), v_between) as body
               from (select case when octet_length(f.document) > 2000 then f.document || ''::bytea
                                 else f.document end as document
                       from factwire.facts f
                      where f.position > p_after
                        and f.position <= p_through
                      order by f.position) d) s),
    factwire.compose_each(p_form, p_epoch, p_after, p_through, null));
end
$$;
