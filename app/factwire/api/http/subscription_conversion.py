"""Conversion of subscriptions from and to the wire format; errors point into the body."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from factwire.api.http.model_conversion import parse_items
from factwire.api.http.models import QueryBody
from factwire.api.http.query_parameters import parse_time
from factwire.api.http.subscription_models import (
    BackoffBody,
    ChangeSubscriptionBody,
    Lag,
    OldestOpen,
    SubscriptionBackoff,
    SubscriptionStatus,
    WorkerStatus,
)
from factwire.domain import subscription as domain
from factwire.domain.errors import FieldError, Forbidden, InvalidRequest
from factwire.domain.fact import check_maximum, check_text, invalid_field, utc
from factwire.domain.grants import NamespaceSet
from factwire.domain.limits import Limits
from factwire.domain.position import Bound, Cursor, parse_bound
from factwire.domain.subscription import (
    ACK_TIMEOUT_SECONDS_MAX,
    ATTEMPTS_MAX,
    BACKOFF_FACTOR_MAX,
    BACKOFF_SECONDS_MAX,
    IN_FLIGHT_MAX,
    LEASES_MAX,
    REASON_LENGTH_MAX,
    Delivery,
    LeasedFact,
    OnFailure,
    Ordering,
    Subscription,
    parse_lease,
)
from factwire.subscriptions.status import Status

T = TypeVar("T")


def delivery_from(body: ChangeSubscriptionBody, before: Delivery) -> Delivery:
    """Rules of a subscription, with those before in place of missing ones. Raises InvalidRequest."""
    backoff = before.backoff
    if isinstance(body.backoff, BackoffBody):
        backoff = domain.Backoff(
            number(body.backoff.first_seconds, backoff.first_seconds, "/backoff/first_seconds", 0, BACKOFF_SECONDS_MAX),
            number(body.backoff.factor, backoff.factor, "/backoff/factor", 1, BACKOFF_FACTOR_MAX),
            number(body.backoff.most_seconds, backoff.most_seconds, "/backoff/most_seconds", 0, BACKOFF_SECONDS_MAX),
        )
    timeout = number(
        body.ack_timeout_seconds, before.ack_timeout_seconds, "/ack_timeout_seconds", 1, ACK_TIMEOUT_SECONDS_MAX
    )
    return Delivery(
        ordering=Ordering(given_or(body.ordering, before.ordering)),
        ack_timeout_seconds=timeout,
        max_attempts=number(body.max_attempts, before.max_attempts, "/max_attempts", 1, ATTEMPTS_MAX),
        on_failure=OnFailure(given_or(body.on_failure, before.on_failure)),
        in_flight_max=number(body.in_flight_max, before.in_flight_max, "/in_flight_max", 1, IN_FLIGHT_MAX),
        backoff=backoff,
    )


def given_or(given: T | UnsetType | None, otherwise: T) -> T:
    return otherwise if given is UNSET or given is None else given


def number(given: T | UnsetType | None, otherwise: T, pointer: str, least: float, most: float) -> T:
    """A number within bounds. Raises InvalidRequest."""
    value = given_or(given, otherwise)
    if not least <= value <= most:  # type: ignore[operator]
        raise invalid_field(pointer, f"expected a number from {least} to {most}")
    return value


def query_form_of(body: QueryBody, limits: Limits) -> Mapping[str, Any]:
    """Query as it is stored: the parts that are given. Raises InvalidRequest and LimitExceeded."""
    for _ in parse_items(body.items or (), "/query/items", limits):
        pass
    parts = [msgspec.to_builtins(item) for item in body.items or ()]
    return {"items": [{name: part for name, part in item.items() if part} for item in parts]}


def scope_of(form: Mapping[str, Any], readable: NamespaceSet) -> NamespaceSet:
    """Namespaces that a query is about: those that it names, or all that its author may read.

    Raises Forbidden if the author may not read one of them: facts would be missing without a sign.
    """
    named = [item.get("namespaces", []) for item in form["items"]]
    for index, names in enumerate(named):
        hidden = next((name for name in names if name not in readable), None)
        if hidden is not None:
            pointer = f"/query/items/{index}/namespaces"
            detail = f"the credentials do not allow reading the namespace {hidden}"
            raise Forbidden(f"{pointer}: {detail}", field=FieldError(detail, pointer=pointer))
    if named and all(named):
        return NamespaceSet(tuple(sorted({name for names in named for name in names})))
    if not readable.include:
        detail = "the credentials do not allow reading any namespace"
        raise Forbidden(f"/query: {detail}", field=FieldError(detail, pointer="/query"))
    return readable


def place_from(text: str, pointer: str) -> Bound | datetime:
    """Place to begin at. Raises InvalidRequest."""
    try:
        return parse_bound(text)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError:
        detail = "expected a cursor such as 1:42, a position, the id of a fact, start, head, or a time"
        raise InvalidRequest([FieldError(detail, pointer=pointer)]) from None


def leases_from(texts: Sequence[str], *, pointer: str = "/leases") -> list[LeasedFact]:
    """Leases in a body, each once. Raises InvalidRequest and LimitExceeded."""
    if not texts:
        raise invalid_field(pointer, "expected at least one lease")
    check_maximum(len(texts), "leases_max", LEASES_MAX, pointer, "leases")
    return list(dict.fromkeys(parsed_leases(texts, pointer)))


def parsed_leases(texts: Sequence[str], pointer: str) -> Iterator[LeasedFact]:
    for index, text in enumerate(texts):
        try:
            yield parse_lease(text)
        except ValueError as error:
            raise invalid_field(f"{pointer}/{index}", str(error)) from None


def reason_from(given: str | UnsetType | None) -> str | None:
    reason = given_or(given, "")
    check_text(reason, "/reason", length_max=REASON_LENGTH_MAX)
    return reason or None


def status_body(subscription: Subscription, status: Status) -> SubscriptionStatus:
    """A subscription with its status, in the wire format."""
    delivery, counts = subscription.delivery, status.counts
    lag = Lag(0 if status.caught_up else counts.head - counts.position, status.lag_seconds, status.caught_up)
    oldest = counts.oldest
    return SubscriptionStatus(
        name=subscription.name,
        query=msgspec.convert(subscription.form, QueryBody),
        ordering=delivery.ordering.value,
        ack_timeout_seconds=delivery.ack_timeout_seconds,
        max_attempts=delivery.max_attempts,
        on_failure=delivery.on_failure.value,
        in_flight_max=delivery.in_flight_max,
        backoff=SubscriptionBackoff(
            delivery.backoff.first_seconds, delivery.backoff.factor, delivery.backoff.most_seconds
        ),
        created_at=utc(subscription.created_at),
        state=subscription.state,
        reason=subscription.reason,
        generation=subscription.generation,
        position=counts.position,
        cursor=str(Cursor(counts.epoch, counts.position)),
        head=counts.head,
        lag=lag,
        in_flight=counts.in_flight,
        ready=counts.ready,
        held=counts.held,
        delayed=counts.delayed,
        parked=counts.parked,
        limited=status.limited,
        oldest_open=UNSET if oldest is None else OldestOpen(oldest.position, utc(oldest.published_at)),
        workers=[
            WorkerStatus(worker.name, worker.in_flight, None if worker.seen_at is None else utc(worker.seen_at))
            for worker in status.workers
        ],
    )
