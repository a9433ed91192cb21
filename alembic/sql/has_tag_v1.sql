-- Whether the fact at a position has a tag. Of the rows of a tag the first at or above the position is the only one
-- that can stand for it; see next_postings.
create function factwire.has_tag(p_tag text, p_position bigint) returns boolean
language plpgsql
stable
as $$
declare
  v_row record;
begin
  select r.position, r.earlier into v_row
    from factwire.fact_tags r
   where r.tag = p_tag
     and r.position >= p_position
     and r.position < p_position + 1000
   order by r.position
   limit 1;
  return coalesce(v_row.position = p_position or v_row.position - p_position = any (v_row.earlier), false);
end
$$;
