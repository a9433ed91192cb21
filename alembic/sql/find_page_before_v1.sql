-- What services of the version before call: the same, with namespaces in the form of that version.
create or replace function factwire.find_page(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_visits_max integer,
  p_bytes_max integer,
  out head bigint,
  out epoch integer,
  out through bigint,
  out facts integer,
  out last_position bigint,
  out positions bigint[]
)
language sql
stable
as $$
  select f.head, f.epoch, f.through, f.facts, f.last_position, f.positions
    from factwire.find_page(
      array(select factwire.scope_before(n.namespaces)
              from unnest(p_namespaces) with ordinality n (namespaces, place) order by n.place),
      p_types, p_tags, p_after, p_until, p_descending, p_hits_max, 4 * p_visits_max, p_bytes_max, 0.2, 1000, 100) f
$$;
