-- The facts after a position in a posting list, and the last of them: those that fold_counts has not counted.
create function factwire.count_since(p_list text, p_after bigint, out facts bigint, out last_position bigint)
language plpgsql
stable
as $$
begin
  select count(*), max(r.position - b.back)
    into facts, last_position
    from factwire.fact_tags r
   cross join lateral (select 0 as back union all select unnest(r.earlier)) b
   where r.tag = p_list
     and r.position > p_after
     and r.position - b.back > p_after;
end
$$;
