"""Requests that are valid by default; one keyword changes one thing."""

from typing import Any
from uuid import uuid4

Fact = dict[str, Any]


def new_fact(**changes: object) -> Fact:
    """Return a fact to publish, with an id and an aggregate id of its own."""
    order = uuid4().hex[:12]
    fact = {
        "id": str(uuid4()),
        "namespace": "shop",
        "type": "OrderPlaced",
        "version": 1,
        "aggregate_ids": [f"order-{order}"],
        "meta": {"tenant": "a"},
        "payload": {"total": 12.5},
    }
    return fact | changes


def new_facts(count: int, **changes: object) -> list[Fact]:
    return [new_fact(**changes) for _ in range(count)]


def publication(*facts: Fact, **members: object) -> dict[str, Any]:
    """Return the body of a publish request: one new fact if none are given."""
    return {"facts": list(facts) or [new_fact()], **members}
