-- Find the alternative with the fewest postings in (p_low, p_high]. Each alternative is posting lists joined by U+001F.
--
-- Counting stops as soon as the answer is certain: after up to 16 rows of each, then 128, then 1,024, or about p_work_max.
-- If all have more, the one with the fewest facts so far is returned. `count` is its number of facts, exact if below
-- `counted`. If all others already have 64 times as many, counting ends as well.
create function factwire.fewest_postings(
  p_ways text[],
  p_low bigint,
  p_high bigint,
  p_work_max integer,
  out place integer,
  out count integer,
  out counted integer,
  out work integer
)
language plpgsql
stable
as $$
declare
  v_count integer;
  v_next integer;  -- the fewest postings of another alternative
begin
  counted := 16;
  work := 0;
  loop
    count := null;
    v_next := null;
    for v_place in 1 .. cardinality(p_ways) loop
      select q.found, q.lists + least(q.found, counted) + work into v_count, work
        from (select factwire.count_postings(l.lists, p_low, p_high, least(counted, coalesce(count, counted))) as found,
                     cardinality(l.lists) as lists
                from (select string_to_array(p_ways[v_place], e'\x1f') as lists) l) q;
      if count is null or v_count < count then
        v_next := count;
        count := v_count;
        place := v_place;
      else
        v_next := least(v_next, v_count);
      end if;
      exit when count <= 4;
    end loop;
    exit when count < counted or counted >= 1024 or work >= p_work_max or count * 64 <= v_next;
    counted := counted * 8;
  end loop;
end
$$;
