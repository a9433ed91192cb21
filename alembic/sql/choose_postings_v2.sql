-- Choose the posting lists that lead to the matches of one item of a query with the fewest visits.
--
-- `drivers` are the tags to walk: one tag of the item, or the tags of its types; null for the log itself, and empty
-- where nothing can match. `residual` says whether the facts must be asked for the rest of the item. What is counted
-- are rows of fact_tags, each of which may stand for several facts.
-- An item by namespace or type alone is expanded over the catalogue here, in the statement's own snapshot: a cached
-- expansion would miss a type that is new. Where it has many types and they make up a fifth of the log,
-- the log itself is walked.
-- The catalogue is gone through only where the tags of an item do not lead to few postings already: conditions are checked
-- under the lock of the log, most of them have a tag, and every publisher would wait for it. `in (select unnest …)` under an
-- `or` is looked up in a hash; `= any` would compare each kind with each of a hundred names.
create or replace function factwire.choose_postings(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_low bigint,
  p_high bigint,
  p_count_max integer,
  out drivers text[],
  out residual boolean,
  out visits integer
)
language plpgsql
stable
as $$
declare
  v_by_kind constant boolean := cardinality(p_namespaces) > 0 or cardinality(p_types) > 0;
  v_kinds text[];
  v_fewest bigint;
  v_count bigint;
  v_tag text;
begin
  visits := 0;
  residual := v_by_kind or cardinality(p_tags) > 1;
  if cardinality(p_tags) = 0 and not v_by_kind then
    return;
  end if;
  if cardinality(p_tags) = 1 and not v_by_kind then
    drivers := p_tags;
    return;
  end if;
  foreach v_tag in array p_tags loop
    select count(*) into v_count
      from (select 1 from factwire.fact_tags p
             where p.tag = v_tag and p.position > p_low and p.position < p_high + 1000
             limit p_count_max) q;
    visits := visits + v_count;
    if v_fewest is null or v_count < v_fewest then
      v_fewest := v_count;
      drivers := array[v_tag];
    end if;
    exit when v_count = 0;
  end loop;
  if v_fewest = 0 then
    drivers := '{}';
    return;
  end if;
  if not v_by_kind or v_fewest < p_count_max then
    return;
  end if;

  select coalesce(array_agg(distinct 't:' || t.namespace || '/' || t.type), '{}') into v_kinds
    from factwire.types t
   where (cardinality(p_namespaces) = 0 or t.namespace in (select unnest(p_namespaces)))
     and (cardinality(p_types) = 0 or t.type in (select unnest(p_types)));
  if cardinality(v_kinds) = 0 then
    drivers := '{}';
  elsif v_fewest is null then
    if cardinality(v_kinds) > 10 then
      select coalesce(sum(c.facts), 0) into v_count
        from factwire.type_counts c
       where (cardinality(p_namespaces) = 0 or c.namespace in (select unnest(p_namespaces)))
         and (cardinality(p_types) = 0 or c.type in (select unnest(p_types)));
    end if;
    if cardinality(v_kinds) <= 10 or v_count * 5 < factwire.head() then
      drivers := v_kinds;
      residual := false;
    end if;
  else
    select count(*) into v_count
      from (select 1 from unnest(v_kinds) k (tag)
              join factwire.fact_tags p on p.tag = k.tag
             where p.position > p_low and p.position < p_high + 1000
             limit p_count_max) q;
    visits := visits + v_count;
    if v_count < v_fewest then
      drivers := v_kinds;
    end if;
  end if;
end
$$;
