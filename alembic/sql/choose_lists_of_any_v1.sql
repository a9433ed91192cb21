-- Choose the posting lists that lead to the matches of an item with alternatives, tags of which a fact needs one only.
--
-- Either the lists of all alternatives together, or what choose_lists finds for the rest of the item: `filters_any` is
-- true if the alternatives remain as a filter. The other results are those of choose_lists. More lists than p_lists_max
-- are not merged.
create function factwire.choose_lists_of_any(
  p_bounds text[],
  p_spaces text[],
  p_exact boolean,
  p_types text[],
  p_tags text[],
  p_any text[],
  p_low bigint,
  p_high bigint,
  p_work_max integer,
  p_lists_max integer,
  out lists text[],
  out tags text[],
  out types text[],
  out bounds text[],
  out work integer,
  out filters_any boolean
)
language plpgsql
stable
as $$
declare
  v_names constant boolean := p_exact and cardinality(p_spaces) * cardinality(p_any) <= p_lists_max
    and not exists (select from unnest(p_spaces) s (space) where left(s.space, 2) <> 'n:');
  v_from bigint;
  v_found text[] := '{}';
  v_more text[];
  v_tag text;
  v_place integer := 2;
  v_work integer;
begin
  filters_any := true;
  select c.lists, c.tags, c.types, c.bounds, c.work into lists, tags, types, bounds, work
    from factwire.choose_lists(
      p_bounds, p_spaces, p_exact, p_types, p_tags, p_low, p_high, p_work_max, least(100, p_lists_max)) c;
  if lists = '{}' then
    return;
  end if;

  if v_names then
    v_found := array(select a.tag || e'\x1d' || substr(s.space, 3) from unnest(p_any) a (tag), unnest(p_spaces) s (space));
    work := work + 1;
  else
    select p_low - p_low % l.partition_facts into v_from from factwire.log l;
    foreach v_tag in array p_any loop
      v_more := factwire.find_lists(v_tag, p_bounds, v_from, p_lists_max - cardinality(v_found));
      work := work + coalesce(cardinality(v_more), p_lists_max) + coalesce(cardinality(p_bounds) / 2, 1);
      if v_more is null then
        return;
      end if;
      v_found := v_found || v_more;
    end loop;
  end if;
  if v_found = '{}' then
    lists := v_found;
    return;
  end if;
  if lists is not null then
    select f.place, f.work into v_place, v_work
      from factwire.fewest_postings(
        array[array_to_string(lists, e'\x1f'), array_to_string(v_found, e'\x1f')], p_low, p_high,
        greatest(1, p_work_max / 8)) f;
    work := work + v_work;
  end if;
  if v_place = 2 then
    lists := v_found;
    tags := p_tags;
    types := nullif(p_types, '{}');
    bounds := null;
    filters_any := false;
  end if;
end
$$;
