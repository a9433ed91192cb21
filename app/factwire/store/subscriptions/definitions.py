"""Subscriptions as they are stored: create, find, change and delete them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from asyncpg import Record

from factwire.domain.grants import NamespaceSet
from factwire.domain.position import Position
from factwire.domain.query import Query, new_item, restricted
from factwire.domain.subscription import Backoff, Delivery, OnFailure, Ordering, Subscription
from factwire.store.connection import Connection

BY_NAME = "select * from factwire.subscriptions where name = $1"
BY_ID = "select * from factwire.subscriptions where id = $1"
AFTER_NAME = "select * from factwire.subscriptions where name > $1 order by name limit $2"

# The cursor is made with the subscription. Of two that create one name at once, the second finds it.
CREATE = """
with made as (
  insert into factwire.subscriptions
         (name, query, include, exclude, ordering, ack_timeout_seconds, max_attempts, on_failure, in_flight_max,
          backoff_first_seconds, backoff_factor, backoff_most_seconds, created_by)
  select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
   where (select count(*) from factwire.subscriptions) < $15
      on conflict (name) do nothing
  returning *
), begun as (
  insert into factwire.subscription_cursors (subscription, seq, position) select m.id, 1, $14 from made m
)
select * from made
"""

BY_NAME_LOCKED = "select * from factwire.subscriptions where name = $1 for update"

# The revision grows only with a change, so that a file that is applied again disturbs no worker. `before` waits for
# whoever changes the row at the same time, and then has what they have made of it.
CHANGE = """
with before as (
  select * from factwire.subscriptions where id = $1 for update
), changed as (
  update factwire.subscriptions s
     set query = $2, include = $3, exclude = $4, ack_timeout_seconds = $5, max_attempts = $6, on_failure = $7,
         in_flight_max = $8, backoff_first_seconds = $9, backoff_factor = $10, backoff_most_seconds = $11,
         revision = s.revision + 1
    from before b
   where s.id = b.id
     and (s.query, s.include, s.exclude, s.ack_timeout_seconds, s.max_attempts, s.on_failure, s.in_flight_max,
          s.backoff_first_seconds, s.backoff_factor, s.backoff_most_seconds)
         is distinct from ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
  returning s.*
)
select * from changed
 union all
select * from before where not exists (select from changed)
"""

PAUSE = """
with before as (
  select * from factwire.subscriptions where id = $1 for update
), changed as (
  update factwire.subscriptions s
     set paused_at = case when $2 then clock_timestamp() end, failed = false, reason = $3, revision = s.revision + 1
    from before b
   where s.id = b.id and (s.paused_at is null) = $2
  returning s.*
)
select * from changed
 union all
select * from before where not exists (select from changed)
"""

RESET = "select factwire.reset_subscription($1, $2)"
DELETE = "select factwire.delete_subscription($1)"


@dataclass(frozen=True, slots=True)
class Definition:
    """Definition of a subscription: its query in JSON form, the namespaces that it is about, its rules."""

    query: Mapping[str, Any]
    scope: NamespaceSet
    delivery: Delivery


async def find_subscription(connection: Connection, name: str) -> Subscription | None:
    return optional_subscription(await connection.fetchrow(BY_NAME, name))


@asynccontextmanager
async def locked_subscription(connection: Connection, name: str) -> AsyncIterator[Subscription | None]:
    """Subscription in a transaction during which no other can change it."""
    async with connection.transaction():
        yield optional_subscription(await connection.fetchrow(BY_NAME_LOCKED, name))


async def read_subscription(connection: Connection, id: int) -> Subscription | None:
    return optional_subscription(await connection.fetchrow(BY_ID, id))


async def list_subscriptions(connection: Connection, *, after: str, count: int) -> list[Subscription]:
    """Subscriptions by name, after a name."""
    return [subscription_of(row) for row in await connection.fetch(AFTER_NAME, after, count)]


async def create_subscription(
    connection: Connection,
    name: str,
    definition: Definition,
    *,
    start: Position,
    created_by: str,
    subscriptions_max: int,
) -> Subscription | None:
    """Create a subscription that begins behind a position. None if the name is taken, or there are too many."""
    query, include, exclude, ordering, *rules = definition_values(definition)
    row = await connection.fetchrow(
        CREATE, name, query, include, exclude, ordering, *rules, created_by, start, subscriptions_max
    )
    return optional_subscription(row)


async def change_subscription(connection: Connection, id: int, definition: Definition) -> Subscription | None:
    """Change all but the ordering. None if the subscription does not exist any more."""
    query, include, exclude, _, *rules = definition_values(definition)
    return optional_subscription(await connection.fetchrow(CHANGE, id, query, include, exclude, *rules))


async def pause_subscription(
    connection: Connection, id: int, *, paused: bool, reason: str | None = None
) -> Subscription | None:
    """Pause or resume a subscription; one that is in that state already is left as it is."""
    return optional_subscription(await connection.fetchrow(PAUSE, id, paused, reason))


async def reset_subscription(connection: Connection, id: int, position: Position) -> bool:
    """Begin again behind a position. False if the subscription does not exist any more."""
    done: bool = await connection.fetchval(RESET, id, position)
    return done


async def delete_subscription(connection: Connection, id: int) -> bool:
    """Delete a subscription with all that is open in it. False if it does not exist any more."""
    done: bool = await connection.fetchval(DELETE, id)
    return done


async def count_subscriptions(connection: Connection) -> int:
    count: int = await connection.fetchval("select count(*) from factwire.subscriptions")
    return count


def definition_values(definition: Definition) -> Sequence[Any]:
    delivery, backoff = definition.delivery, definition.delivery.backoff
    return (
        msgspec.json.encode(definition.query).decode(),
        list(definition.scope.include),
        list(definition.scope.exclude),
        delivery.ordering,
        delivery.ack_timeout_seconds,
        delivery.max_attempts,
        delivery.on_failure,
        delivery.in_flight_max,
        backoff.first_seconds,
        backoff.factor,
        backoff.most_seconds,
    )


def optional_subscription(row: Record | None) -> Subscription | None:
    return None if row is None else subscription_of(row)


def subscription_of(row: Record) -> Subscription:
    scope = NamespaceSet(tuple(row["include"]), tuple(row["exclude"]))
    form = msgspec.json.decode(row["query"])
    return Subscription(
        id=row["id"],
        name=row["name"],
        form=form,
        query=restricted(query_of(form), scope),
        scope=scope,
        delivery=Delivery(
            ordering=Ordering(row["ordering"]),
            ack_timeout_seconds=row["ack_timeout_seconds"],
            max_attempts=row["max_attempts"],
            on_failure=OnFailure(row["on_failure"]),
            in_flight_max=row["in_flight_max"],
            backoff=Backoff(row["backoff_first_seconds"], row["backoff_factor"], row["backoff_most_seconds"]),
        ),
        generation=row["generation"],
        revision=row["revision"],
        paused_at=row["paused_at"],
        failed=row["failed"],
        reason=row["reason"],
        created_at=row["created_at"],
    )


def query_of(form: Mapping[str, Any]) -> Query:
    """Query from its JSON form, which was checked when it was stored."""
    return Query(
        tuple(
            new_item(
                namespaces=item.get("namespaces"),
                types=item.get("types"),
                aggregate_ids=item.get("aggregate_ids"),
                any_aggregate_id=item.get("any_aggregate_id"),
                meta=[
                    (key, value)
                    for key, given in item.get("meta", {}).items()
                    for value in ([given] if isinstance(given, str) else given)
                ],
            )
            for item in form["items"]
        )
    )
