-- Find, for each request, a fact that its condition forbids.
--
-- One row for each request whose condition fails or cannot be decided within the budget of visits:
-- outcome 'failed' with the position of a matching fact, 'slow' where this condition alone visits more than
-- p_visits_max postings, 'again' where the visits of the requests before it used up the call.
-- Conditions by a single tag, by far the most frequent, are decided together in one statement. So is, of all others, whether they
-- name a tag that no fact has behind p_after: most do, since they protect something new, and nothing is walked for them.
create or replace function factwire.check_conditions(
  p_requests integer[],
  p_afters bigint[],
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_until bigint,
  p_visits_max integer
) returns table (request integer, outcome text, "position" bigint)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_item record;
  v_walk record;
  v_decided integer := -1;
  v_request_visits integer := 0;
  v_request integer := -1;
  v_call_visits integer := 0;
begin
  return query
  select c.request, 'failed', min(g.position)
    from unnest(p_requests, p_afters, p_namespaces, p_types, p_tags) c (request, after, namespaces, types, tags)
   cross join lateral (
           select p.position
             from factwire.fact_tags p
            where p.tag = c.tags
              and p.position > c.after
            order by p.position
            limit 1) g
   where c.namespaces = '' and c.types = '' and position(e'\x1f' in c.tags) = 0
   group by c.request;

  for v_item in
    select c.*
      from unnest(p_requests, p_afters, p_namespaces, p_types, p_tags) c (request, after, namespaces, types, tags)
     where (c.namespaces <> '' or c.types <> '' or position(e'\x1f' in c.tags) > 0)
       and not exists (
             select from unnest(string_to_array(c.tags, e'\x1f')) t (tag)
              where not exists (
                      select from factwire.fact_tags p where p.tag = t.tag and p.position > c.after))
     order by c.request
  loop
    continue when v_item.request = v_decided;
    if v_item.request <> v_request then
      v_request := v_item.request;
      v_request_visits := 0;
    end if;
    if v_call_visits >= p_visits_max and v_call_visits > v_request_visits then
      v_decided := v_request;
      return query select v_request, 'again', null::bigint;
      continue;
    end if;
    if v_request_visits >= p_visits_max then
      v_decided := v_request;
      return query select v_request, 'slow', null::bigint;
      continue;
    end if;
    v_walk := factwire.walk_item(
      factwire.readable_namespaces(string_to_array(v_item.namespaces, e'\x1f')), string_to_array(v_item.types, e'\x1f'),
      string_to_array(v_item.tags, e'\x1f'), v_item.after, p_until, false, 1, p_visits_max - v_request_visits);
    v_request_visits := v_request_visits + v_walk.visits;
    v_call_visits := v_call_visits + v_walk.visits;
    if cardinality(v_walk.positions) > 0 then
      v_decided := v_request;
      return query select v_request, 'failed', v_walk.positions[1];
    elsif v_walk.through < p_until then
      v_decided := v_request;
      return query select v_request, 'slow', null::bigint;
    end if;
  end loop;
end
$$;
