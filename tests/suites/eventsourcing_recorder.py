"""A DCB recorder of the package `eventsourcing` that keeps its events in Factwire, over plain HTTP.

An event is a fact: its type is the type, its tags are the aggregate ids, and its data is a base64 text as the payload.
A recorder reads and writes one namespace. Positions are those of the whole log.
"""
# mypy: disallow-subclassing-any=False
# The package is not installed where the types are checked.

import base64
import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any
from uuid import uuid4

import httpx
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
    DCBSubscription,
)
from eventsourcing.dcb.popo import SimpleDCBReadResponse
from eventsourcing.persistence import IntegrityError, OperationalError, ProgrammingError

PAGE_FACTS = 1000
HEARTBEAT_SECONDS = 3
RECONNECT_SECONDS = 2
TIMEOUT_SECONDS = 30
CONDITION_FAILED = "urn:factwire:problem:condition-failed"


class FactwireRecorder(DCBRecorder):
    """Appends, reads and follows the events of one namespace; threads may share it."""

    def __init__(self, url: str, namespace: str | None = None) -> None:
        self.http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS)
        self.namespace = namespace or f"eventsourcing-{uuid4()}"

    def close(self) -> None:
        self.http.close()

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Publish the events in one request; return the position of the last one."""
        if not events:
            raise ProgrammingError("There is no event to append.")
        body: dict[str, Any] = {"facts": [self._fact(event) for event in events]}
        if condition is not None:
            body["condition"] = {"fail_if_match": self.items(condition.fail_if_events_match)}
            if condition.after is not None:
                body["condition"]["after"] = condition.after
        answer = self.http.post("/v1/facts", json=body)
        raise_for_problem(answer)
        return int(answer.json()["position"])

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        """Read all pages at once.

        Without a limit, the head is the head of the log that the last page reached. With a limit, it is the position
        of the last event.
        """
        events: list[DCBSequencedEvent] = []
        cursor = "start" if after is None else str(after)
        caught_up, head = False, 0
        while not caught_up and (limit is None or len(events) < limit):
            page_facts = PAGE_FACTS if limit is None else min(PAGE_FACTS, limit - len(events))
            answer = self.http.post(
                "/v1/facts/search", params={"after": cursor, "limit": page_facts}, json={"items": self.items(query)}
            )
            raise_for_problem(answer)
            page = answer.json()
            events += map(sequenced_event, page["facts"])
            cursor, caught_up, head = page["cursor"], page["caught_up"], page["position"]
        if limit is not None:
            head = events[-1].position if events else 0
        return SimpleDCBReadResponse(iter(events), head or None)

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> "FactwireSubscription":
        return FactwireSubscription(self, query, after)

    def items(self, query: DCBQuery | None) -> list[dict[str, list[str]]]:
        """Give the items of a query; a query without items means every event of the namespace."""
        items = query.items if query is not None and query.items else [DCBQueryItem()]
        return [self._item(item) for item in items]

    def _item(self, item: DCBQueryItem) -> dict[str, list[str]]:
        parts = {"namespaces": [self.namespace], "types": item.types, "aggregate_ids": item.tags}
        return {name: values for name, values in parts.items() if values}

    def _fact(self, event: DCBEvent) -> dict[str, object]:
        payload = base64.b64encode(event.data).decode()
        return {"namespace": self.namespace, "type": event.type, "aggregate_ids": event.tags, "payload": payload}


class FactwireSubscription(DCBSubscription[FactwireRecorder]):
    """Follows a stream, and continues after its last cursor when it ends.

    A reader that waits for an event notices `stop` at the next heartbeat.
    """

    def __init__(self, recorder: FactwireRecorder, query: DCBQuery | None, after: int | None) -> None:
        super().__init__(recorder, query, after)
        self._cursor = "start" if after is None else str(after)
        self._events = self._follow()
        self._reading = Lock()

    def __next__(self) -> DCBSequencedEvent:
        with self._reading:
            return next(self._events)

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        super().__exit__(*args, **kwargs)
        with self._reading:
            self._events.close()

    def _follow(self) -> Generator[DCBSequencedEvent, None, None]:
        while not self._has_been_stopped:
            with suppress(httpx.TransportError):  # the next stream continues after the last cursor
                yield from self._follow_once()
            if not self._has_been_stopped:
                time.sleep(RECONNECT_SECONDS)

    def _follow_once(self) -> Iterator[DCBSequencedEvent]:
        params: dict[str, str | int] = {"after": self._cursor, "heartbeat": HEARTBEAT_SECONDS}
        query = {"items": self._recorder.items(self._query)}
        with self._recorder.http.stream("POST", "/v1/stream", params=params, json=query) as answer:
            raise_for_problem(answer)
            fields: dict[bytes, bytes] = {}
            for line in lines(answer.iter_bytes()):
                if self._has_been_stopped:
                    return
                if line:
                    name, _, value = line.partition(b": ")
                    fields[name] = value
                    continue
                self._cursor = fields[b"id"].decode()
                if b"event" not in fields:  # the others are `caught-up`, `position` and `problem`
                    yield sequenced_event(json.loads(fields[b"data"]))
                fields = {}


def sequenced_event(fact: dict[str, Any]) -> DCBSequencedEvent:
    event = DCBEvent(type=fact["type"], data=base64.b64decode(fact["payload"]), tags=fact["aggregate_ids"])
    return DCBSequencedEvent(event=event, position=fact["position"])


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Split at line feeds only: `iter_lines` of httpx also splits at U+2028, which a fact may contain."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def raise_for_problem(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    problem = answer.read().decode()
    if answer.status_code == httpx.codes.CONFLICT and json.loads(problem)["type"] == CONDITION_FAILED:
        raise IntegrityError(problem)
    raise OperationalError(problem)
