"""The client: publish, decide, read, follow, project and work over HTTP."""

from __future__ import annotations

import json
import os
from typing import Any, Iterator, Callable, List, Mapping, Sequence, Union
from urllib.parse import quote

import time
import httpx

from .. import models
from ..answers import decoded
from ..decisions import Decided, Deciding
from ..errors import OutcomeUnknown
from ..events import HEARTBEAT_SECONDS, SILENCE_SECONDS, Event, Following, members_of, parts_of
from ..facts import (
    AnyQuery,
    Fact,
    NewFact,
    Page,
    PayloadTypes,
    Published,
    body_of,
    condition_of,
    encode,
    items_of,
    published_of,
)
from ..retrying import Attempts
from ..work import AnyClaimed, Claimed, Stop, acknowledgement_of, worker_name
from .closing import closing
from .views import View
from .work import Worker

VERSION = "0.1.0"
ANSWER_SECONDS = 30.0
URL_QUERY_LENGTH_MAX = 2000
PAGE_FACTS = 100  # of a page without a limit; a service may allow no more
Key = Union[str, Callable[[], str], None]


class Factwire:
    """A log, at the URL of the service or FACTWIRE_URL.

    `key` is an API key or a token (default: FACTWIRE_KEY), or a function that is asked for one before each attempt.
    `types` are the classes of payloads: `{"shop/OrderPlaced": OrderPlaced}`. `give_up_after` says for how many seconds
    an operation is retried while the service cannot be reached; streams are retried without end. `http` is an HTTP
    client of your own, with its proxies and certificates. One client serves all tasks of a program.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: Key = None,
        types: Mapping[str, Any] | None = None,
        give_up_after: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        self.url = (url or os.environ.get("FACTWIRE_URL") or "http://127.0.0.1:8000").rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"expected the address of the service, such as http://127.0.0.1:8000, and not {self.url}")
        if "@" in self.url.partition("//")[2].partition("/")[0]:
            raise ValueError("the address has a user or a password: give a key by key=")
        self._key = key or os.environ.get("FACTWIRE_KEY")
        self._types = PayloadTypes(types)
        self._give_up_after = give_up_after
        self._owns_http = http is None
        # Streams hold a connection each: a limit would let many of them hold up everything else.
        self._http = http or httpx.Client(limits=httpx.Limits(max_connections=None, max_keepalive_connections=20))

    def __enter__(self) -> Factwire:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        if self._owns_http:
            self._http.close()

    def publish(
        self,
        namespace: str,
        type: str,
        payload: Any,
        *,
        aggregate_ids: Sequence[str] = (),
        meta: Mapping[str, Any] | None = None,
        version: int | None = None,
        id: str | None = None,
        data_subject: str | None = None,
        fail_if_match: AnyQuery | None = None,
        fail_unless_match: AnyQuery | None = None,
        after: str | int | None = None,
        acknowledge: AnyClaimed | None = None,
    ) -> Published:
        """Publish a fact. Returns once it is in the log, whether by this attempt or an earlier one.

        With `acknowledge`, facts that a worker has are acknowledged in the same transaction: both happen, or neither.
        Raises ConditionFailed if the condition does not hold, LeaseLost if others have such a fact by now, another
        Problem if the fact was refused, Unreachable if it was not written, and OutcomeUnknown if it may have been.
        """
        ids = aggregate_ids if isinstance(aggregate_ids, str) else list(aggregate_ids)
        given = None if meta is None else dict(meta)
        fact = NewFact(namespace, type, payload, id, version, ids, given, data_subject)  # type: ignore[arg-type]
        return self.publish_all(
            [fact],
            fail_if_match=fail_if_match,
            fail_unless_match=fail_unless_match,
            after=after,
            acknowledge=acknowledge,
        )

    def publish_all(
        self,
        facts: Sequence[NewFact],
        *,
        fail_if_match: AnyQuery | None = None,
        fail_unless_match: AnyQuery | None = None,
        after: str | int | None = None,
        acknowledge: AnyClaimed | None = None,
    ) -> Published:
        """Publish facts as one: all of them, at consecutive positions, or none. Raises as `publish` does."""
        given = list(facts)
        condition = condition_of(fail_if_match, fail_unless_match, after)
        body = body_of(given, condition, acknowledgement_of(acknowledge))
        return self._publish(Attempts(self._give_up_after, given, body), body)

    def resume(self, unknown: OutcomeUnknown) -> Published:
        """Go on with a publish whose outcome is unknown: the same request again, with its condition.

        Raises as `publish` does, but never Unreachable: the facts may have been written before.
        """
        return self._publish(Attempts(self._give_up_after, unknown.facts, unknown.body, in_doubt=True), unknown.body)

    def _publish(self, attempts: Attempts, body: bytes) -> Published:
        response, content = self._ask("POST", "/v1/facts", attempts, content=body)
        return published_of(decoded(content), replayed=response.status_code == 200)

    def decide(
        self, query: AnyQuery, decision: Callable[[List[Fact]], Decided], *, attempts: int = 10, facts_max: int = 10_000
    ) -> Published | None:
        """Read all facts that match, and publish what `decision` makes of them, unless another such fact came first.

        If one came, the new facts are read too and `decision` is asked again: it must not change anything itself. It
        returns a NewFact, several, or None. Raises ConditionFailed after the last attempt, and TooManyFacts.
        """
        deciding = Deciding(attempts, facts_max)
        while True:
            try:
                while not deciding.is_informed:
                    deciding.see(self.page(query, after=deciding.after))
                facts = deciding.decided(decision)
                if not facts:
                    return None
                return self.publish_all(facts, fail_if_match=query, after=deciding.after)
            except deciding.REPEATED as error:
                deciding.overtaken(error)
            time.sleep(deciding.pause)

    def page(
        self,
        query: AnyQuery | None = None,
        *,
        after: str | int | None = None,
        until: str | int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        wait_seconds: float = 0,
    ) -> Page:
        """A page of the facts that match. `wait_seconds` is how long an empty page waits for the first one."""
        given: dict[str, Any] = {"after": after, "until": until, "limit": limit}
        given |= {"order": "desc" if newest_first else None, "wait_seconds": wait_seconds or None}
        parameters = {name: value for name, value in given.items() if value is not None}
        method, path, more = asking(query, "/v1/facts", "/v1/facts/search", parameters)
        attempts = Attempts(self._give_up_after + wait_seconds, needs="cursor")
        _, content = self._ask(method, path, attempts, seconds=wait_seconds, **more)
        return self._types.page(decoded(content))

    def read(
        self,
        query: AnyQuery | None = None,
        *,
        after: str | int | None = None,
        until: str | int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Fact]:
        """The facts that match, up to the present head, page by page as they are taken."""
        left = limit if limit is not None else 1 << 62
        while left > 0:
            most = left if left < PAGE_FACTS else None
            page = self.page(query, after=after, until=until, limit=most, newest_first=newest_first)
            for fact in page.facts:
                yield fact
            left -= len(page.facts)
            if page.caught_up:
                return
            after, until = (after, page.until) if newest_first else (page.cursor, until)

    def fact(self, id_or_position: str | int) -> Fact:
        """The fact with an id or at a position. Raises FactNotFound."""
        at = "at/" if isinstance(id_or_position, int) else ""
        return self._types.fact(self._get(f"/v1/facts/{at}{quote(str(id_or_position), safe='')}"), "")

    def position(self, at: str | None = None) -> models.LogPosition:
        """The head of the log, or the last position before a time (RFC 3339)."""
        members = self._get("/v1/position", params={} if at is None else {"at": at})
        return models.LogPosition(**{name: members[name] for name in ("position", "cursor", "head", "published_at")})

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The JSON of an operation that has no verb here and may be repeated, after as many attempts as it takes.

        `more` is what httpx takes, such as `params` and `content`. Raises Problem and Unreachable.
        """
        response, content = self._ask(method, path, Attempts(self._give_up_after), **more)
        request, headers = response.request, {"content-type": response.headers.get("content-type", "")}
        return httpx.Response(response.status_code, headers=headers, content=content, request=request)

    def ticket(self, query: AnyQuery | None = None) -> str:
        """A ticket for a page: it opens one stream with this query, once."""
        body = encode({"items": items_of(query)}).encode()
        return str((self.request("POST", "/v1/tickets", content=body)).json()["ticket"])

    def follow(
        self,
        query: AnyQuery | None = None,
        *,
        after: str | int = "start",
        until_caught_up: bool = False,
        give_up_after: float | None = None,
    ) -> Iterator[Fact]:
        """Facts that match, first those in the log, then each new one. Streams that end are opened again.

        Keep `fact.cursor` to go on after a restart. Raises Problem where going on would be wrong, such as CursorForked,
        and Unreachable after `give_up_after` seconds without a stream.
        """
        with closing(self.events(query, after=after, give_up_after=give_up_after)) as events:
            for event in events:
                if event.name == "fact":
                    yield self.fact_of(event)
                elif event.name == "caught-up" and until_caught_up:
                    return

    def events(
        self,
        query: AnyQuery | None = None,
        *,
        after: str | int = "start",
        cloudevents: bool = False,
        give_up_after: float | None = None,
    ) -> Iterator[Event]:
        """As `follow`, with the events that move the cursor without a fact: `caught-up` and `position`.

        With `cloudevents`, the `data` of a fact is a CloudEvent.
        """
        path = "/v1/stream/cloudevents" if cloudevents else "/v1/stream"
        with closing(self._batches(query, Following(after, give_up_after), path)) as batches:
            for batch in batches:
                for event in batch:
                    yield event

    def fact_of(self, event: Event) -> Fact:
        return self._types.fact(members_of(event), event.cursor.partition(":")[0])

    def project(
        self,
        view: View,
        query: AnyQuery | None,
        apply: Callable[[Any, Fact], None],
        *,
        until_caught_up: bool = False,
        batch_max: int = 1000,
    ) -> None:
        """Fold facts into a view: `apply` is called for each, in a transaction that also moves the view's cursor.

        So each fact is applied exactly once, whatever is killed. Facts that arrive together share a transaction, at
        most `batch_max` of them. Raises TakenOver if another process moves the same cursor, and otherwise as `follow`
        does.
        """
        following = Following(view.cursor(), None)
        with closing(self._batches(query, following)) as batches:
            for arrived in batches:
                for batch in parts_of(arrived, batch_max):
                    with view.moved(batch[-1].cursor) as target:
                        for event in batch:
                            if event.name == "fact":
                                apply(target, self.fact_of(event))
                if until_caught_up and any(event.name == "caught-up" for event in arrived):
                    return

    def subscribe(self, subscription: str, query: AnyQuery | None, *, start: str = "head", **rules: Any) -> None:
        """Create a subscription, or bring it into this form. `start` counts only when it is created.

        `rules` are those of docs/subscriptions.md, such as `ordering` and `max_attempts`.
        """
        body = {"query": {"items": items_of(query)}, "start": start, **rules}
        path = f"/v1/subscriptions/{quote(subscription, safe='')}"
        self.request("PUT", path, content=encode(body).encode())

    def work(
        self,
        subscription: str,
        handle: Callable[[Claimed], None],
        *,
        worker: str | None = None,
        limit: int = 10,
        until_caught_up: bool = False,
        stop: Stop | None = None,
    ) -> None:
        """Handle the facts of a subscription, beside its other workers: one after the other, until this is cancelled.

        When `stop` is set, it ends after the fact in hand, or the claim that waits: at most 20 seconds later.
        A fact is acknowledged when `handle` returns. If it raises Retry or Park, the fact comes again or is parked, and
        so does it after any other exception, by the rules of the subscription. Meanwhile the leases are extended.
        Raises SubscriptionNotFound and Forbidden.
        """
        Worker(self, subscription, handle, worker or worker_name(), limit, stop).run(until_caught_up=until_caught_up)

    def claim_once(self, path: str, body: Mapping[str, Any], wait_seconds: float) -> Any:
        """One claim, which is repeated without end while the service cannot be reached."""
        attempts = Attempts(float("inf"), needs="facts")
        _, content = self._ask("POST", path, attempts, seconds=wait_seconds, content=encode(body).encode())
        return decoded(content)

    def typed_fact(self, members: Mapping[str, Any]) -> Fact:
        return self._types.fact(members, "")

    def _batches(
        self, query: AnyQuery | None, following: Following, stream: str = "/v1/stream"
    ) -> Iterator[List[Event]]:
        """Events as they arrive together, over as many streams as it takes."""
        timeout = httpx.Timeout(10, read=SILENCE_SECONDS)
        while True:
            parameters = {"after": following.after, "heartbeat": HEARTBEAT_SECONDS}
            method, path, more = asking(query, stream, stream, parameters)
            following.begin()
            try:
                with self._http.stream(
                    method, self.url + path, headers=self._headers(), timeout=timeout, **more
                ) as response:
                    if following.is_stream(response):
                        for chunk in response.iter_bytes():
                            batch = following.feed(chunk)
                            if batch:
                                yield batch
                        following.ended()
                    else:
                        response.read()
                        following.refused(response)
            except httpx.RequestError as error:
                following.lost(error)
            time.sleep(following.pause)

    def _get(self, path: str, **more: Any) -> Any:
        _, content = self._ask("GET", path, Attempts(self._give_up_after, needs="position"), **more)
        return decoded(content)

    def _ask(
        self, method: str, path: str, attempts: Attempts, *, seconds: float = 0, **more: Any
    ) -> tuple[httpx.Response, bytes]:
        """An answer and its body, after as many attempts as it takes."""
        read = min(ANSWER_SECONDS, max(1.0, self._give_up_after)) + seconds
        timeout = httpx.Timeout(min(10.0, read), read=read)
        given = more.pop("headers", {})
        while True:
            try:
                headers = {**self._headers(), **given}
                attempts.begin(2 * read)
                with self._http.stream(method, self.url + path, headers=headers, timeout=timeout, **more) as response:
                    content = bytearray()
                    for chunk in response.iter_bytes():
                        attempts.check_time()
                        content += chunk
            except httpx.RequestError as error:
                attempts.lost(error)
            except Exception as error:
                attempts.stopped(error)
                raise
            else:
                if attempts.answered(response, bytes(content)):
                    return response, bytes(content)
            time.sleep(attempts.pause)

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "user-agent": f"factwire-client/{VERSION}"}
        key = self._key if isinstance(self._key, str) or self._key is None else self._key()
        if key is None:
            return headers
        if not key.strip().isascii() or not key.strip().isprintable() or " " in key.strip():
            raise ValueError("the key has characters that no key has")
        return {**headers, "authorization": f"Bearer {key.strip()}"}


def asking(
    query: AnyQuery | None, path: str, path_of_large: str, parameters: Mapping[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """Method, path and arguments of a request with a query: in the URL, or in the body if it is large."""
    items = items_of(query)
    if not items:
        return "GET", path, {"params": dict(parameters)}
    text = json.dumps({"items": items}, separators=(",", ":"))
    if len(text) <= URL_QUERY_LENGTH_MAX:
        return "GET", path, {"params": {**parameters, "query": text}}
    return "POST", path_of_large, {"params": dict(parameters), "content": text.encode()}
