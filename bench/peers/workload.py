"""The facts of bench/facts.py as every peer takes them: a type, three tags, and the whole fact as 500 bytes of JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.facts import NAMESPACE, Requests, publishing, publishing_in_sequence

FACT_MARKER = f'"namespace":"{NAMESPACE}"'.encode()
_DISTINCT_FACTS = 4096
_BODY_START = b'{"facts":['
_BODY_END = b"]}"


@dataclass(frozen=True, slots=True)
class Fact:
    """Type and tags make four postings, in the way that the peer has them."""

    type: str
    tags: tuple[str, ...]
    document: bytes


def facts() -> list[Fact]:
    return [_fact(request) for request in _take(publishing(1), _DISTINCT_FACTS)]


def numbered_facts(count: int) -> list[Fact]:
    """Facts whose payload holds their number, so that their deliveries are recognised."""
    return [_fact(request) for request in _take(publishing_in_sequence(), count)]


def batches(facts_per_request: int, *, first: int = 0) -> Iterator[Sequence[Fact]]:
    """Batches without end; the distinct ones are few, so that they can be prepared."""
    every = facts()
    every = every[first:] + every[:first]
    chunks = [every[at : at + facts_per_request] for at in range(0, len(every), facts_per_request)]
    return cycle([chunk for chunk in chunks if len(chunk) == facts_per_request])


def write_workload(path: Path, numbered: int) -> None:
    """The same facts as a file, for drivers in other languages."""
    document = {"facts": [_members(fact) for fact in facts()]}
    document["numbered"] = [_members(fact) for fact in numbered_facts(numbered)]
    path.write_text(json.dumps(document), encoding="utf-8")


def _take(requests: Requests, count: int) -> Iterator[bytes]:
    return islice(iter(requests, b""), count)


def _fact(request: bytes) -> Fact:
    document = request.partition(b"\r\n\r\n")[2].removeprefix(_BODY_START).removesuffix(_BODY_END)
    members: dict[str, Any] = json.loads(document)
    meta = (f"{key}:{value}" for key, value in members["meta"].items())
    return Fact(members["type"], (*members["aggregate_ids"], *meta), document)


def _members(fact: Fact) -> dict[str, Any]:
    return {"type": fact.type, "tags": fact.tags, "document": fact.document.decode()}
