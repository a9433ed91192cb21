-- True if a pattern covers a namespace: the name itself, `name.*` for all namespaces that start with `name.`, or `*`.
create function factwire.covers(p_pattern text, p_namespace text) returns boolean
language sql
immutable
as $$
  select p_pattern = '*'
      or p_pattern = p_namespace
      or (p_pattern like '%.*' and starts_with(p_namespace, left(p_pattern, -1)));
$$;
