-- The namespaces of an item, as the service encodes them: sorted bounds of ranges of names, and posting lists.
--
-- A name is in a range if it is at or above its first bound and below its second: width_bucket finds it by binary search.
-- `spaces` are the lists that lead to all facts of these namespaces, and to no others if `exact`; null if only the log
-- itself does. All are null if the item leaves namespaces out.
create function factwire.parse_scope(p_scope text, out bounds text[], out spaces text[], out exact boolean)
language sql
immutable
as $$
  select case when p_scope <> '' then string_to_array(split_part(p_scope, e'\x1c', 1), e'\x1f') end,
         case when split_part(p_scope, e'\x1c', 2) <> '' then string_to_array(split_part(p_scope, e'\x1c', 2), e'\x1f') end,
         split_part(p_scope, e'\x1c', 3) = '='
$$;
