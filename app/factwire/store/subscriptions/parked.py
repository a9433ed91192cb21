"""Parked facts in the database: list them, replay them, discard them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from factwire.domain.position import Position
from factwire.store.connection import Connection

BEHIND_MAX = 1000  # counted at most

PARKED = """
select a.position, a.attempts, a.reason, a.worker, a.set_aside_at,
       (select count(*)
          from (select distinct o.position
                  from unnest(a.keys) k (key)
                 cross join lateral (
                         select x.position from factwire.subscription_open_keys x
                          where x.subscription = a.subscription and x.key = k.key and x.position > a.position
                          limit $5) o
                 limit $5) b) as held_behind
  from factwire.subscription_aside a
 where a.subscription = $1 and a.state = 'parked' and a.position > $2
   and ($3::bigint[] is null or a.position = any ($3))
 order by a.position
 limit $4
"""

RESOLVE = "select factwire.resolve_parked($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class ParkedFact:
    """A fact that is set aside until somebody decides; `held_behind` counts the later facts that wait for it directly.

    `worker` is the last one that had it.
    """

    position: Position
    attempts: int
    reason: str | None
    worker: str | None
    parked_at: datetime
    held_behind: int


async def list_parked(
    connection: Connection,
    subscription: int,
    *,
    after: Position,
    count: int,
    positions: Sequence[Position] | None = None,
) -> list[ParkedFact]:
    """Parked facts after a position, in order; only those at some positions, if these are given."""
    rows = await connection.fetch(PARKED, subscription, after, positions, count, BEHIND_MAX)
    return [
        ParkedFact(
            row["position"], row["attempts"], row["reason"], row["worker"], row["set_aside_at"], row["held_behind"]
        )
        for row in rows
    ]


async def resolve_parked(
    connection: Connection, subscription: int, positions: Sequence[Position] | None, *, discard: bool
) -> int | None:
    """Replay parked facts, or discard them; None for `positions` means all, up to 10 000 in a call.

    Returns their number, or None if there is no such subscription.
    """
    facts: int | None = await connection.fetchval(RESOLVE, subscription, positions, discard)
    return facts
