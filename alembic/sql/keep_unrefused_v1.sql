-- The arrays of a call of append without the facts of refused requests. `places` are the former places of the facts, and
-- postings get the new ones.
create function factwire.keep_unrefused(
  p_requests integer[],
  p_refused integer[],
  p_ids uuid[],
  p_namespaces text[],
  p_types text[],
  p_versions integer[],
  p_starts integer[],
  p_lengths integer[],
  p_tags text[],
  p_tag_places integer[],
  p_tag_earlier text[],
  out places integer[],
  out ids uuid[],
  out namespaces text[],
  out types text[],
  out versions integer[],
  out starts integer[],
  out lengths integer[],
  out tags text[],
  out tag_places integer[],
  out tag_earlier text[]
)
language plpgsql
immutable
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_places integer[];  -- the new place of each fact, 0 if it is left out
begin
  v_places := array(
    select sum(f.kept) over (order by f.place rows unbounded preceding)::integer * f.kept
      from (select u.place, (u.request <> all (p_refused))::integer as kept
              from unnest(p_requests) with ordinality u (request, place)) f
     order by f.place);

  select array_agg(f.place order by f.place), coalesce(array_agg(f.id order by f.place), '{}'),
         array_agg(f.namespace order by f.place), array_agg(f.type order by f.place),
         array_agg(f.version order by f.place), array_agg(f.start order by f.place),
         array_agg(f.length order by f.place)
    into places, ids, namespaces, types, versions, starts, lengths
    from unnest(p_ids, p_namespaces, p_types, p_versions, p_starts, p_lengths)
           with ordinality f (id, namespace, type, version, start, length, place)
   where v_places[f.place] > 0;

  select array_agg(g.tag), array_agg(g.last), array_agg(g.earlier)
    into tags, tag_places, tag_earlier
    from (select e.tag, e.last,
                 '{' || string_agg((e.last - e.place)::text, ',') filter (where e.place < e.last) || '}' as earlier
            from (select t.tag, v_places[t.place - b.back] as place,
                         max(v_places[t.place - b.back]) over (partition by t.tag) as last
                    from unnest(p_tags, p_tag_places, p_tag_earlier) t (tag, place, earlier)
                   cross join lateral (
                           select 0 as back
                            union all
                           select unnest(t.earlier::integer[])) b) e
           where e.place > 0
           group by e.tag, e.last) g;
end
$$;
