"""Status of a subscription: its lag, its open facts, its workers."""

from collections.abc import Sequence
from dataclasses import dataclass

from factwire.domain.errors import KeyUnavailable, Unavailable
from factwire.domain.position import Position
from factwire.domain.subscription import Subscription
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys
from factwire.store.subscriptions.matches import find_matches
from factwire.store.subscriptions.status import Counts, Worker, published_at, read_counts, read_workers


@dataclass(frozen=True, slots=True)
class Status:
    """Counts and workers of a subscription, and its lag.

    `lag_seconds` is the age of the oldest matching fact that is not done, and 0 without one; None if the search for it
    took too long. `caught_up` is True if every match has been claimed at least once.
    """

    counts: Counts
    workers: Sequence[Worker]
    caught_up: bool
    lag_seconds: float | None
    limited: bool


async def read_status(
    connection: Connection, subscription: Subscription, *, aside_max: int, master_keys: MasterKeys
) -> Status | None:
    """Status of a subscription; None if it does not exist any more."""
    counts = await read_counts(connection, subscription.id)
    if counts is None:
        return None
    workers = await read_workers(connection, subscription.id)
    following, searched_all = await next_match(connection, subscription, counts.position, master_keys)
    caught_up = following is None and searched_all
    oldest = counts.oldest.published_at if counts.oldest is not None else None
    if oldest is None and following is not None:
        oldest = await published_at(connection, following)
    lag = None
    if oldest is not None:
        lag = max(0.0, (counts.now - oldest).total_seconds())
    elif caught_up:
        lag = 0.0
    limited = not caught_up and (counts.in_flight >= subscription.delivery.in_flight_max or counts.aside >= aside_max)
    return Status(counts, workers, caught_up, lag, limited)


async def next_match(
    connection: Connection, subscription: Subscription, after: Position, master_keys: MasterKeys
) -> tuple[Position | None, bool]:
    """Position of the next match, if a short search finds one; the second value is True if it reached the head."""
    try:
        found = await find_matches(
            connection, subscription.query, after=after, facts_max=1, bytes_max=1, master_keys=master_keys
        )
    except (Unavailable, KeyUnavailable):
        return None, False
    return (found.facts[0].position if found.facts else None), found.through >= found.head
