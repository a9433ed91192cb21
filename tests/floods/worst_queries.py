"""A log that makes finding as laborious as it can be, and the worst that may legally be asked of it."""

import asyncio
import json
from itertools import count

from factwire.domain.fact import NewFact
from factwire.store.append import append
from factwire.store.connection import Connection
from tests.floods.extreme_bodies import AGGREGATE_IDS, META_VALUES, NUMBER, numbered, publication
from tests.floods.extremes import Attacker, made
from tests.integration.store import a_fact

NAMESPACES, LONG_LIST, MANY_TAGS = 20_000, 60_000, 6_000
FOLLOW_SECONDS = 30.0


async def fill(connection: Connection) -> None:
    """Namespaces that share their tags and types, two long lists without a common fact, and facts with 95 tags each."""
    places = [f"tenant.{number:05}" for number in range(NAMESPACES)]
    await publish(
        connection,
        [
            a_fact(namespace=place, type=type, aggregate_ids=["order-1", f"order-{number}"], meta={"region": "eu"})
            for number, place in enumerate(places)
            for type in ("Opened", "Closed")
        ],
    )
    await publish(
        connection, [a_fact(namespace="tenant.long", aggregate_ids=[("even", "odd")[n % 2]]) for n in range(LONG_LIST)]
    )
    await publish(connection, [a_fact(namespace="payroll", aggregate_ids=["even", "odd"]) for _ in range(20_000)])
    tags: dict[str, str | list[str]] = {"k": META_VALUES}
    await publish(
        connection,
        [a_fact(namespace="tenant.tags", aggregate_ids=AGGREGATE_IDS, meta=tags) for _ in range(MANY_TAGS)],
        at_once=100,
    )


async def publish(connection: Connection, facts: list[NewFact], *, at_once: int = 1000) -> None:
    for start in range(0, len(facts), at_once):
        await append(connection, [(facts[start : start + at_once], None)])


ALL_TAGS = {"aggregate_ids": AGGREGATE_IDS, "meta": {"k": META_VALUES}}

# Each is an item; queries have up to 32 of them, which takes a setting above the default.
LABORIOUS = (
    {"aggregate_ids": ["even", "odd"]},
    {"aggregate_ids": ["even", "odd"], "types": ["OrderPlaced"]},
    {**ALL_TAGS, "types": [NUMBER]},
    {**ALL_TAGS, "aggregate_ids": [*AGGREGATE_IDS, "even"]},
    {"meta": {"region": "eu"}, "types": ["OrderPlaced"]},
    {"aggregate_ids": ["order-1"], "types": ["OrderPlaced"], "meta": {"region": "eu"}},
    {"types": [f"{NUMBER}-{n}" for n in range(100)], "namespaces": [f"tenant.{n:05}" for n in range(100)]},
    {"namespaces": [f"tenant.{n:05}" for n in range(100)], "types": ["OrderPlaced"]},
)
QUERIES = [json.dumps({"items": [item] * 1}) for item in LABORIOUS] + [
    json.dumps({"items": [{**item, "types": [f"{NUMBER}-{n}"]} for n in range(32)]}) for item in LABORIOUS
]
NUMBERS = count()


async def search(attacker: Attacker) -> None:
    """Pages in both orders, from the start on and as far as they go."""
    number = next(NUMBERS)
    body = numbered(QUERIES[number % len(QUERIES)].encode(), number)
    await attacker.ask("POST", f"/v1/facts/search?limit=1&order={('asc', 'desc')[number // len(QUERIES) % 2]}", body)


async def decide(attacker: Attacker) -> None:
    """Publish on a condition that looks at the whole log."""
    number = next(NUMBERS)
    items = json.loads(QUERIES[number % len(QUERIES)])["items"]
    body = made(publication_of, json.dumps(items))
    await attacker.ask("POST", "/v1/facts", numbered(body, number))


def publication_of(items: str) -> bytes:
    fact = {"namespace": "tenant.long", "type": "Decided", "payload": None}
    return publication(fact, condition={"fail_if_match": json.loads(items)})


async def follow(attacker: Attacker) -> None:
    """Catch up with nothing, from the start, and begin again."""
    number = next(NUMBERS)
    query = numbered(QUERIES[number % len(QUERIES)].encode(), number)
    await attacker.send("POST", "/v1/stream?after=start", query)
    await attacker.begin_answer()
    async with asyncio.timeout(FOLLOW_SECONDS):
        while b"caught-up" not in (chunk := await attacker.chunk()):
            assert chunk
    attacker.all.outcomes["caught up"] += 1
    attacker.close()


async def list_names(attacker: Attacker) -> None:
    await attacker.ask("GET", "/v1/namespaces?limit=1000")
    await attacker.ask("GET", "/v1/activity?interval_seconds=86400")
    await attacker.ask("GET", "/v1/position?at=2100-01-01T00:00:00Z")
