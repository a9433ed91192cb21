-- Choose the posting lists that lead to the matches of one item of a query with the least work.
--
-- `lists` are the lists to walk: those of one tag of the item in its namespaces, or of its types, or of its namespaces.
-- Null: the log itself; empty: nothing can match. `tags`, `types` and `bounds` are the filters that remain for the facts
-- found there. Where `bounds` is not null, the walk passes facts of other namespaces.
-- A tag in more than p_lists_max namespaces is not walked: merging so many lists costs more than the log. For a short
-- range of positions the limit is lower.
-- The catalogue is not read: the lists of a tag show which namespaces have it, and a type has one list for all namespaces
-- and one for each; see posting_lists in the domain's module of facts.
create function factwire.choose_lists(
  p_bounds text[],
  p_spaces text[],
  p_exact boolean,
  p_types text[],
  p_tags text[],
  p_low bigint,
  p_high bigint,
  p_work_max integer,
  p_lists_max integer,
  out lists text[],
  out tags text[],
  out types text[],
  out bounds text[],
  out work integer
)
language plpgsql
stable
as $$
declare
  v_few constant boolean := p_high - p_low <= least(256, p_work_max);
  v_lists_max constant integer := case when v_few then least(8, p_lists_max) else p_lists_max end;
  v_names constant boolean := p_exact and cardinality(p_spaces) <= v_lists_max
    and not exists (select from unnest(p_spaces) s (space) where left(s.space, 2) <> 'n:');
  -- Choosing must cost less than scanning all the facts.
  v_work_max constant integer := least(p_work_max / 4, greatest(64, (p_high - p_low) / 4));
  v_from bigint;
  v_found text[];
  v_more text[];
  v_tag text;
  v_ways text[] := '{}';
  v_keys text[] := '{}';  -- the tag of each way, or null
  v_by_types integer;
  v_place integer;
  v_count integer := 0;
  v_counted integer := 0;  -- while it is not more than v_count, other ways may be shorter
  v_work integer;
begin
  work := 1;
  tags := p_tags;
  types := nullif(p_types, '{}');
  bounds := p_bounds;
  if cardinality(p_tags) = 0 and types is null and p_spaces is null then
    return;
  end if;
  select p_low - p_low % l.partition_facts into v_from from factwire.log l;

  foreach v_tag in array p_tags loop
    if v_names then
      v_found := array(select v_tag || e'\x1d' || substr(s.space, 3) from unnest(p_spaces) s (space));
      work := work + 1;
    else
      v_found := factwire.find_lists(v_tag, p_bounds, v_from, v_lists_max);
      work := work + coalesce(cardinality(v_found), v_lists_max) + coalesce(cardinality(p_bounds) / 2, 1);
    end if;
    if v_found = '{}' then
      lists := v_found;
      return;
    elsif v_found is not null then
      v_ways := v_ways || array_to_string(v_found, e'\x1f');
      v_keys := v_keys || v_tag;
    end if;
    exit when work >= v_work_max;
  end loop;
  if v_ways <> '{}' and (cardinality(v_ways) > 1 or types is not null or p_spaces is not null) then
    select f.place, f.count, f.counted, f.work into v_place, v_count, v_counted, v_work
      from factwire.fewest_postings(v_ways, p_low, p_high, 1) f;
    work := work + v_work;
  end if;

  if types is not null and v_count >= v_counted then
    v_found := null;
    if p_bounds is null then
      v_found := array(select 't:' || t.type from unnest(p_types) t (type));
    elsif v_names and cardinality(p_types) * cardinality(p_spaces) <= v_lists_max then
      v_found := array(
        select 't:' || t.type || e'\x1d' || substr(s.space, 3) from unnest(p_types) t (type), unnest(p_spaces) s (space));
    elsif not v_names then
      v_found := '{}';
      foreach v_tag in array p_types loop
        v_more := factwire.find_lists('t:' || v_tag, p_bounds, v_from, v_lists_max - cardinality(v_found));
        v_found := case when v_more is not null then v_found || v_more end;
        work := work + coalesce(cardinality(v_more), v_lists_max) + cardinality(p_bounds) / 2;
        exit when v_found is null or work >= 2 * v_work_max;
      end loop;
      if work >= 2 * v_work_max then
        v_found := null;
      end if;
    end if;
    if v_found = '{}' then
      lists := v_found;
      return;
    elsif v_found is not null then
      v_ways := v_ways || array_to_string(v_found, e'\x1f');
      v_keys := array_append(v_keys, null);
      v_by_types := cardinality(v_ways);
    end if;
  end if;
  if p_spaces is not null and (p_exact or v_ways = '{}') and v_count >= v_counted then
    v_ways := v_ways || array_to_string(p_spaces, e'\x1f');
    v_keys := array_append(v_keys, null);
  end if;

  if v_ways = '{}' then
    if types is not null and not v_few then
      lists := array(select 't:' || t.type from unnest(p_types) t (type));
      types := null;
    end if;
    return;
  end if;
  if cardinality(v_ways) = 1 then
    v_place := 1;
  else
    if v_count >= v_counted then
      select f.place, f.count, f.work into v_place, v_count, v_work
        from factwire.fewest_postings(v_ways, p_low, p_high, greatest(1, v_work_max / 4)) f;
      work := work + v_work;
    end if;
    if v_count = 0 then
      lists := '{}';
      return;
    end if;
  end if;
  lists := string_to_array(v_ways[v_place], e'\x1f');
  if v_keys[v_place] is not null then
    tags := array_remove(p_tags, v_keys[v_place]);
    bounds := null;
  elsif v_place = v_by_types then
    types := null;
    bounds := null;
  elsif p_exact then
    bounds := null;
  end if;
end
$$;
