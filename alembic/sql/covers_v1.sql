-- Whether a pattern covers a namespace: its name, `name.*` for all whose names go on behind the dot, or `*` for every one.
create function factwire.covers(p_pattern text, p_namespace text) returns boolean
language sql
immutable
as $$
  select p_pattern = '*'
      or p_pattern = p_namespace
      or (p_pattern like '%.*' and starts_with(p_namespace, left(p_pattern, -1)));
$$;
