-- The first position without a partition: publishing stops there.
create function factwire.partitioned_until() returns bigint
language sql
stable
as $$
  select l.partition_facts * coalesce(
    (select max(substring(c.relname from '^facts_p([0-9]+)$')::bigint) + 1
       from pg_catalog.pg_inherits i
       join pg_catalog.pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'factwire.facts'::regclass),
    0)
    from factwire.log l
$$;
