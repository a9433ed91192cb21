-- The requests whose conditions do not allow them to be appended behind p_head, apart from those refused already.
create function factwire.refuse_conditions(
  p_requests integer[],
  p_epochs integer[],
  p_afters bigint[],
  p_namespaces text[],
  p_types text[],
  p_tags text[],
  p_refused integer[],
  p_epoch integer,
  p_head bigint,
  p_visits_max integer
) returns table (request integer, outcome text, "position" bigint)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  select distinct on (r.request) r.request, r.outcome, r.position
    from (select c.request, case when c.epoch not in (0, p_epoch) then 'forked' else 'ahead' end as outcome,
                 p_head as position, 0 as rank
            from unnest(p_requests, p_epochs, p_afters) c (request, epoch, after)
           where c.epoch not in (0, p_epoch) or c.after > p_head
           union all
          select c.request, c.outcome, c.position, 1
            from factwire.check_conditions(
              p_requests, p_afters, p_namespaces, p_types, p_tags, p_head, p_visits_max) c) r
   where r.request <> all (p_refused)
   order by r.request, r.rank;
end
$$;
