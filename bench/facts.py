"""The facts of every scenario: about 500 bytes and four postings each, as prebuilt requests."""

import json
import random
from collections.abc import Callable, Iterator
from itertools import count, cycle, repeat
from typing import Any, TypeAlias

NAMESPACE = "bench"
SEQUENCE_MARKER = b'"sequence":"'
SEQUENCE_DIGITS = 12
FACT_MARKER = b'"published_at":'

_TYPES = ("OrderPlaced", "OrderPaid", "OrderPacked", "OrderSent", "OrderDelivered", "OrderReturned")
_WORDS = ("ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "spruce", "yew")
_DISTINCT_REQUESTS = 4096
_SEED = 20_000_003

_RUNS = count()
_NUMBERS_PER_RUN = 10**8

Requests: TypeAlias = Callable[[], bytes]


def publishing(facts_per_request: int, *, key: str = "") -> Requests:
    """Requests of so many facts each, prebuilt: the client pays one call per request. Each comes with the key."""
    chance = random.Random(_SEED)
    distinct = max(32, _DISTINCT_REQUESTS // facts_per_request)
    prebuilt = [_publish([_fact(chance) for _ in range(facts_per_request)], key=key) for _ in range(distinct)]
    return cycle(prebuilt).__next__


def publishing_conditionally(*, key: str = "") -> Requests:
    """One fact a request, on the condition that its order is new; every request of every run is about another order."""
    fact = _fact(random.Random(_SEED))
    fact["aggregate_ids"] = ["order-@@@@@@@@@@@@", "customer-0042"]
    condition = {"fail_if_match": [{"aggregate_ids": ["order-@@@@@@@@@@@@"]}]}
    first = next(_RUNS) * _NUMBERS_PER_RUN
    return _numbered(_publish([fact], key=key, condition=condition), b"@" * SEQUENCE_DIGITS, first=first)


def publishing_in_sequence() -> Requests:
    """One fact a request, whose payload holds the number of the request, so that its deliveries are recognised."""
    fact = _fact(random.Random(_SEED))
    fact["payload"]["sequence"] = "@" * SEQUENCE_DIGITS
    return _numbered(_publish([fact]), b"@" * SEQUENCE_DIGITS)


def pushing(facts_per_request: int) -> Requests:
    """What the floor of the fan-out pushes as it is: the frames of so many facts, as the service would send them."""
    chance = random.Random(_SEED)
    head = b'data: {"position":100000,"published_at":"2026-11-23T10:00:00.123456Z",'
    head += b'"id":"01938a3c-2f00-7000-8000-000000000000",'
    frames = (head + _compact(_fact(chance))[1:] + b"\nid: 1:100000\n\n" for _ in range(facts_per_request))
    return repeat(request_bytes("POST", "/push", body=b"".join(frames))).__next__


def request_bytes(method: str, target: str, *, body: bytes = b"", key: str = "") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    if key:
        head += f"authorization: Bearer {key}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _numbered(request: bytes, placeholder: bytes, *, first: int = 0) -> Requests:
    parts = request.split(placeholder)

    def numbers() -> Iterator[bytes]:
        for number in count(first):
            yield (b"%0*d" % (SEQUENCE_DIGITS, number)).join(parts)

    return numbers().__next__


def _publish(facts: list[dict[str, Any]], *, key: str = "", **members: object) -> bytes:
    return request_bytes("POST", "/v1/facts", body=_compact({"facts": facts, **members}), key=key)


def _compact(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _fact(chance: random.Random) -> dict[str, Any]:
    return {
        "namespace": NAMESPACE,
        "type": chance.choice(_TYPES),
        "aggregate_ids": [f"order-{chance.randrange(100_000):06d}", f"customer-{chance.randrange(5_000):04d}"],
        "meta": {"tenant": f"tenant-{chance.randrange(20):02d}"},
        "payload": {
            "amount": f"{chance.randrange(1, 100_000) / 100:.2f}",
            "currency": "EUR",
            "lines": [{"item": f"item-{chance.randrange(10_000):05d}", "count": chance.randrange(1, 9)}] * 3,
            "note": " ".join(chance.choices(_WORDS, k=32)),
        },
    }
