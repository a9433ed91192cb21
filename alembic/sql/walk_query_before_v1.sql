-- What services of the version before call: the same, with namespaces in the form of that version.
create or replace function factwire.walk_query(
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_after bigint,
  p_until bigint,
  p_descending boolean,
  p_hits_max integer,
  p_visits_max integer,
  out positions bigint[],
  out through bigint
)
language sql
stable
as $$
  select w.positions, w.through
    from factwire.walk_query(
      array(select factwire.scope_before(n.namespaces)
              from unnest(p_namespaces) with ordinality n (namespaces, place) order by n.place),
      p_types, p_tags, p_after, p_until, p_descending, p_hits_max, p_visits_max, 0.2, 0, 0) w
$$;
