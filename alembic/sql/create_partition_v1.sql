-- Create the next partition of facts and fact_tags, unless `p_room` positions after the head already have one.
--
-- Returns the first position without a partition, or null while another process creates one.
-- LIKE and ATTACH take SHARE UPDATE EXCLUSIVE on the parent, which does not block readers or publishers;
-- PARTITION OF would take ACCESS EXCLUSIVE and queue them all behind the oldest open reader.
create function factwire.create_partition(p_room bigint) returns bigint
language plpgsql
security definer
set search_path = factwire, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_size bigint;
  v_key bigint;
  v_number bigint;
  v_parent text;
  v_child text;
begin
  select l.partition_facts, l.lock_key into v_size, v_key from factwire.log l;
  if not pg_try_advisory_xact_lock(v_key + 1) then
    return null;
  end if;
  v_number := factwire.partitioned_until() / v_size;
  if v_number * v_size > factwire.head() + p_room then
    return v_number * v_size;
  end if;
  foreach v_parent in array array['facts', 'fact_tags'] loop
    v_child := v_parent || '_p' || v_number;
    execute format('create table factwire.%I (like factwire.%I including all)', v_child, v_parent);
    execute format('alter table factwire.%I set (autovacuum_vacuum_insert_scale_factor = 0.05)', v_child);
    execute format(
      'create trigger refuse_change before update or delete or truncate on factwire.%I'
      ' for each statement execute function factwire.refuse_change()',
      v_child);
    execute format(
      'alter table factwire.%I attach partition factwire.%I for values from (%s) to (%s)',
      v_parent, v_child, v_number * v_size, (v_number + 1) * v_size);
  end loop;
  return (v_number + 1) * v_size;
end
$$;
