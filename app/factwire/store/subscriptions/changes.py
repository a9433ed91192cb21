"""Changes of subscriptions that other processes have made, for those with waiting workers."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from factwire.store.connection import Connection

# For all subscriptions in one statement; of each it reads the newest row of its cursor.
CHANGES = """
select s.id, s.revision, c.seq, c.look_at <= clock_timestamp() as due,
       exists (select from factwire.subscription_settled t where t.subscription = s.id) as settled
  from unnest($1::integer[]) u (id)
 cross join lateral (select x.id, x.revision from factwire.subscriptions x where x.id = u.id limit 1) s
 cross join lateral (
         select k.seq, k.look_at from factwire.subscription_cursors k
          where k.subscription = s.id order by k.seq desc limit 1) c
"""

NOTE_WORKERS = """
insert into factwire.subscription_workers (subscription, worker, seen_at)
select u.subscription, u.worker, clock_timestamp() from unnest($1::integer[], $2::text[]) u (subscription, worker)
    on conflict (subscription, worker) do update set seen_at = excluded.seen_at
"""

FORGET_WORKERS = "delete from factwire.subscription_workers where seen_at < clock_timestamp() - interval '10 minutes'"

# An acknowledgement that comes later passes for a repetition; no request waits so long for its answer.
FORGET_LOST = """
delete from factwire.subscription_lost_leases l
 where l.ctid = any (array(
         select x.ctid from factwire.subscription_lost_leases x
          where x.lost_at < clock_timestamp() - interval '1 day' order by x.lost_at limit $1))
"""


class Change(NamedTuple):
    """State of a subscription by which a process notices that others have changed it. `due` means that it is time to
    look for leases that ran out, and for delayed facts."""

    id: int
    revision: int
    seq: int
    due: bool


async def read_changes(connection: Connection, ids: Iterable[int]) -> list[Change]:
    """States of some subscriptions; those that were deleted are left out."""
    rows = await connection.fetch(CHANGES, list(ids))
    return [Change(row["id"], row["revision"], row["seq"], bool(row["due"] or row["settled"])) for row in rows]


async def note_workers(connection: Connection, seen: Sequence[tuple[int, str]]) -> None:
    """Store that workers have been heard of just now: pairs of subscription and worker."""
    await connection.execute(NOTE_WORKERS, [id for id, _ in seen], [worker for _, worker in seen])


async def forget_old(connection: Connection, *, leases_max: int) -> None:
    """Delete workers that are gone, and leases that were lost a day ago."""
    await connection.execute(FORGET_WORKERS)
    await connection.execute(FORGET_LOST, leases_max)
