-- Build a page as ready bytes: SSE events, NDJSON lines or the elements of a JSON array.
--
-- In an event `data:` stands before `id:`, since some clients store an id as soon as they have read its line: cut off
-- between the two, they would skip the fact. A document starts with the position before its own. So the text between two
-- facts of a contiguous page is a constant: the end of one event, `\nid: <epoch>:`, is continued by the number with which
-- the next document starts. That number is cut off the first document, and the last id is appended. The page then costs
-- as much as copying it. This holds only if every document of the page is as append writes it, which is judged by its
-- start and end (a large document is detoasted once for both); otherwise compose_each builds the page.
-- p_form is 'events', 'typed-events', 'lines' or 'elements' (each followed by a comma). The facts are those of find_page,
-- in the same statement and so in the same snapshot. The page is the only result and never in a variable: PL/pgSQL would
-- copy it each time.
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
  v_digits constant integer := length(p_after::text);
  v_id constant text := e'\nid: ' || p_epoch || ':';
  v_between constant bytea := convert_to(
    case p_form when 'events' then v_id when 'lines' then e'\n' when 'elements' then ',' end, 'UTF8');
  v_behind constant bytea := convert_to(
    case p_form when 'events' then v_id || p_through || e'\n\n' when 'lines' then e'\n' when 'elements' then ',' end,
    'UTF8');
begin
  if p_positions is not null or p_form = 'typed-events' or v_digits <> length((p_through - 1)::text)
     or not factwire.starts_with_previous_position(p_after) then
    return factwire.compose_each(p_form, p_epoch, p_after, p_through, p_positions);
  end if;
  if p_form = 'events' then
    return coalesce(
      (select case when s.ready then substr(s.body, v_digits + 3) || v_behind end
         from (select count(*) filter (where factwire.is_well_formed(d.document, v_digits)) = p_through - p_after as ready,
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
       from (select count(*) filter (where factwire.is_well_formed(d.document, v_digits)) = p_through - p_after as ready,
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
