-- Build a page fact by fact. compose_page calls this where its shorter way does not apply.
-- p_positions null means every fact of (p_after, p_through].
create function factwire.compose_each(
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
  v_positions constant bigint[] := coalesce(p_positions, array(select generate_series(p_after + 1, p_through)));
  v_id constant text := e'\nid: ' || p_epoch || ':';
  v_before constant bytea := convert_to(case when p_form in ('events', 'typed-events') then 'data: ' else '' end, 'UTF8');
  v_behind constant bytea := convert_to(case p_form when 'lines' then e'\n' when 'elements' then ',' else '' end, 'UTF8');
begin
  return (
    select coalesce(string_agg(s.fact, ''::bytea), ''::bytea)
      from (select case p_form when 'typed-events' then convert_to(e'event: ' || f.namespace || '/' || f.type || e'\n', 'UTF8')
                               else ''::bytea end
                     || v_before
                     || factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document)
                     || case when p_form in ('events', 'typed-events')
                             then convert_to(v_id || f.position || e'\n\n', 'UTF8') else v_behind end as fact
              from unnest(v_positions) with ordinality c (position, place)
              left join factwire.facts f on f.position = c.position
             where f.position is not null or factwire.raise_missing_fact(c.position)
             order by c.place) s);
end
$$;
