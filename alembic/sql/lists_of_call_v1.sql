-- The postings of a call as services of the version before send them, with the lists that they are kept in now: their tags
-- know no namespace, and `t:namespace/type` was one tag. See posting_keys in app/domain/fact.py.
create function factwire.lists_of_call(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_tag_places integer[],
  p_tag_earlier text[],
  out lists text[],
  out places integer[],
  out earlier text[]
)
language sql
immutable
set jit = off
as $$
  with facts as materialized (
    select f.place::integer, f.namespace, f.type
      from unnest(p_namespaces, p_types) with ordinality f (namespace, type, place)
  ), postings as (
    select t.tag || e'\x1d' || f.namespace as list, f.place
      from unnest(p_tags, p_tag_places, p_tag_earlier) t (tag, place, earlier)
     cross join lateral (select 0 as back union all select unnest(t.earlier::integer[])) b
      join facts f on f.place = t.place - b.back
     where t.tag not like 't:%'
     union all
    select l.list, f.place
      from facts f
     cross join lateral (
             select unnest(array[
               't:' || f.type, 't:' || f.type || e'\x1d' || f.namespace, 'n:' || f.namespace,
               case when position('.' in f.namespace) > 0 then 'f:' || split_part(f.namespace, '.', 1) end]) as list) l
     where l.list is not null
  )
  select array_agg(g.list), array_agg(g.last), array_agg(g.earlier)
    from (select p.list, max(p.place) as last,
                 '{' || string_agg((p.last - p.place)::text, ',') filter (where p.place < p.last) || '}' as earlier
            from (select q.list, q.place, max(q.place) over (partition by q.list) as last from postings q) p
           group by p.list) g
$$;
