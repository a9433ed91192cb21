"""The operations of the OpenAPI document, and for each what a stranger could name in it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from tests.support.service import ROOT

RULE = "x-factwire-access"
METHODS = {"get", "post", "put", "patch", "delete"}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    described: dict[str, Any] = field(compare=False, hash=False, repr=False)

    @property
    def rule(self) -> str:
        rule: str = self.described[RULE]
        return rule

    @property
    def body(self) -> tuple[str, str] | None:
        """The media type of the body, and the name of its schema."""
        for media_type, content in self.described.get("requestBody", {}).get("content", {}).items():
            schema = content.get("itemSchema") or content["schema"]
            return media_type, schema["$ref"].rpartition("/")[2]
        return None

    def names(self, place: str, *, required: bool = False) -> list[str]:
        """The names of its parameters in one place; only the required ones if asked for."""
        given = [each for each in self.described.get("parameters", ()) if each["in"] == place]
        return [each["name"] for each in given if each["required"] or not required]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations() -> list[Operation]:
    document = json.loads((ROOT / "openapi" / "openapi-3.2.json").read_text())
    return [
        Operation(method, path, described)
        for path, item in document["paths"].items()
        for method, described in item.items()
        if method in METHODS
    ]


@dataclass(frozen=True)
class Things:
    """What somebody published, as others could name it."""

    id: str
    position: int
    namespace: str
    type: str
    aggregate_id: str
    tenant: str
    payload: str
    key_id: str

    @property
    def marks(self) -> list[str]:
        """What must not be seen of it: nothing else in the log contains any of these."""
        return [self.id, self.namespace, self.type, self.aggregate_id, self.tenant, self.payload]

    def item(self) -> dict[str, Any]:
        return {"namespaces": [self.namespace], "types": [self.type], "aggregate_ids": [self.aggregate_id]}


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    media_type: str = ""

    @property
    def text(self) -> str:
        return f"{self.path} {self.parameters} {self.headers} {(self.content or b'').decode()}"


# A parameter that is not listed here fails the tests, so that nobody adds one without a thought of strangers.
PATH_VALUES: dict[str, Callable[[Things], list[str]]] = {
    "id": lambda things: [things.id],
    "position": lambda things: [str(things.position)],
    "name": lambda things: [things.namespace],
}
QUERY_VALUES: dict[str, Callable[[Things], list[str]]] = {
    "namespace": lambda things: [things.namespace],
    "type": lambda things: [things.type],
    "aggregate_id": lambda things: [things.aggregate_id],
    "any_aggregate_id": lambda things: [things.aggregate_id],
    "meta": lambda things: [f"tenant:{things.tenant}"],
    "query": lambda things: [json.dumps({"items": [things.item()]}), json.dumps({"items": [{"types": [things.type]}]})],
    "after": lambda things: [things.id, str(things.position - 1)],
    "lastEventId": lambda things: [things.id, str(things.position - 1)],
    "until": lambda things: [things.id, str(things.position)],
    "limit": lambda things: ["1000"],
    "prefix": lambda things: [things.namespace, things.namespace[:-1], things.type],
    "order": lambda things: ["desc"],
    "wait_seconds": lambda things: ["0.1"],
    "heartbeat": lambda things: ["3"],
    "event": lambda things: ["type"],
    "ticket": lambda things: ["fwt_unknown"],
    "from": lambda things: [(datetime.now(UTC) - timedelta(hours=1)).isoformat()],
    "to": lambda things: [(datetime.now(UTC) + timedelta(hours=1)).isoformat()],
    "interval": lambda things: ["60"],
    "by": lambda things: ["type"],
    "published_at_meta": lambda things: ["published"],
    "at": lambda things: ["2100-01-01T00:00:00Z"],
}
HEADER_VALUES: dict[str, Callable[[Things], list[str]]] = {
    "Last-Event-ID": lambda things: [things.id, str(things.position - 1)],
    "Idempotency-Key": lambda things: [things.id],
}
BODIES: dict[str, Callable[[Things], list[Any]]] = {
    "QueryBody": lambda things: [{}, {"items": [things.item()]}, {"items": [{"types": [things.type]}]}],
    "PublishBody": lambda things: [
        {"facts": [{"namespace": things.namespace, "type": "Stolen", "payload": 1}]},
    ],
    "CloudEvent": lambda things: [
        {"specversion": "1.0", "id": "1", "source": "x", "type": "Stolen", "namespace": things.namespace},
    ],
    "NewFactLine": lambda things: [{"namespace": things.namespace, "type": "Stolen", "payload": 1}],
    "KeyBody": lambda things: [{"name": "mine", "grants": {"read": {"include": [things.namespace]}}}],
    "RedactionBody": lambda things: [{"reason": "stolen"}],
    "SubscriptionBody": lambda things: [{"query": {}}, {"query": {"items": [things.item()]}, "start": things.id}],
    "ChangeSubscriptionBody": lambda things: [{"query": {"items": [things.item()]}}],
    "ResetBody": lambda things: [{"to": things.id}],
    "PauseBody": lambda things: [{"reason": "stolen"}],
    "ClaimBody": lambda things: [{"worker": "mine"}],
    "LeasesBody": lambda things: [{"leases": [f"1.2.{things.position}"]}],
    "NackBody": lambda things: [{"leases": [f"1.2.{things.position}"], "park": True}],
    "ExtendBody": lambda things: [{"leases": [f"1.2.{things.position}"]}],
    "ParkedSelection": lambda things: [{}, {"positions": [things.position]}, {"aggregate_id": things.aggregate_id}],
    "RotationBody": lambda things: [{"grace_seconds": 0}],
}


def calls_of(operation: Operation, things: Things) -> Iterator[Call]:
    """The operation alone, and with each of its parameters and bodies naming these things."""
    path = operation.path
    for name in operation.names("path"):
        values = [things.key_id] if "/keys/" in path else PATH_VALUES[name](things)
        path = path.replace(f"{{{name}}}", quote(values[0], safe=""))
    always = tuple((name, QUERY_VALUES[name](things)[0]) for name in operation.names("query", required=True))
    calls = [Call(operation.method.upper(), path, always)]
    if operation.body is not None:
        media_type, schema = operation.body
        bodies = [json.dumps(body).encode() for body in BODIES[schema](things)]
        calls = [replace(calls[0], content=body, media_type=media_type) for body in bodies]
    yield from calls
    for name in operation.names("query"):
        for value in QUERY_VALUES[name](things):
            others = tuple(pair for pair in always if pair[0] != name)
            yield replace(calls[0], parameters=(*others, (name, value)))
    for name in operation.names("header"):
        for value in HEADER_VALUES[name](things):
            yield replace(calls[0], headers=((name, value),))
