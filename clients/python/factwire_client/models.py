"""Models of the OpenAPI document, written by clients/generate.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Optional, Union


@dataclass(frozen=True)
class PublishedFact:
    """
    Position of a published fact.
    """

    id: str
    position: int


@dataclass(frozen=True)
class LogPosition:
    """
    A position of the log.
    """

    position: int
    cursor: str
    head: int
    published_at: Optional[str]


@dataclass(frozen=True)
class BackoffBody:
    """
    Times before a fact comes again: the first, multiplied by the factor for each further attempt, up to the most.
    """

    first_seconds: Optional[float] = None
    """
    Default: 1.
    """
    factor: Optional[float] = None
    """
    Default: 2.
    """
    most_seconds: Optional[float] = None
    """
    Default: 300.
    """


@dataclass(frozen=True)
class Fact:
    """
    A published fact.
    """

    position: int
    published_at: str
    id: str
    namespace: str
    type: str
    version: int
    aggregate_ids: list[str]
    meta: dict[str, Union[str, list[str]]]
    payload: Any
    data_subject: Optional[str] = None
    """
    The data subject, whose key encrypts the payload.
    """
    redacted: Optional[bool] = None
    """
    The payload was taken out.
    """
    erased: Optional[bool] = None
    """
    The key was destroyed, and with it the payload.
    """
    unreadable: Optional[bool] = None
    """
    The stored fact is damaged: its columns are left.
    """


@dataclass(frozen=True)
class NewFactBody:
    """
    A fact to publish.
    """

    namespace: str
    """
    The owner of the type.
    """
    type: str
    """
    The kind of fact.
    """
    payload: Any
    """
    Any JSON; it comes back as it was sent.
    """
    id: Optional[str] = None
    """
    A UUID with hyphens, which makes retries safe (default: a new UUIDv7).
    """
    version: Optional[int] = None
    """
    The version of the payload's schema (default: 1).
    """
    aggregate_ids: Optional[list[str]] = None
    """
    The entities that the fact is about: a set.
    """
    meta: Optional[dict[str, Union[str, list[str]]]] = None
    """
    Small attributes to match on.
    """
    data_subject: Optional[str] = None
    """
    The data subject whose key encrypts the payload. It must not identify the person.
    """


@dataclass(frozen=True)
class ConditionItemBody:
    """
    One item of a condition: an item of a query, with a bound of its own. A list in it is not empty.
    """

    namespaces: Optional[list[str]] = None
    """
    The namespace is one of these.
    """
    types: Optional[list[str]] = None
    """
    The type is one of these.
    """
    aggregate_ids: Optional[list[str]] = None
    """
    The fact has all of these.
    """
    any_aggregate_id: Optional[list[str]] = None
    """
    The fact has at least one of these.
    """
    meta: Optional[dict[str, Union[str, list[str]]]] = None
    """
    The fact has all of these pairs.
    """
    after: Optional[Union[int, str]] = None
    """
    A cursor, a position, the id of a fact, or `start`, exclusive (default: the condition's `after` in `fail_if_match`, `start` in `fail_unless_match`).
    """


@dataclass(frozen=True)
class PublishResult:
    """
    Positions of the facts that a request published.
    """

    facts: list[PublishedFact]
    position: int
    """
    The position of the last of them.
    """
    cursor: str
    """
    The cursor after them.
    """
    published_at: Optional[str]
    """
    RFC 3339, UTC; null if the facts were archived.
    """
    acknowledged: Optional[int] = None
    """
    With `acknowledge`: the number of facts that are acknowledged.
    """


@dataclass(frozen=True)
class Page:
    """
    One page of history.
    """

    facts: list[Fact]
    position: int
    """
    How far the page came, matches or not.
    """
    cursor: str
    """
    The cursor to continue after.
    """
    head: int
    """
    The position of the newest fact.
    """
    head_cursor: Optional[str]
    """
    The cursor of the head that the page was read at, for the `after` of a condition. Null unless the page is caught up (ascending), or the first (descending).
    """
    caught_up: bool
    """
    True if the end of the requested range is reached.
    """
    until: Optional[str] = None
    """
    Descending: the next page's `until`.
    """


@dataclass(frozen=True)
class QueryItemBody:
    """
    One item of a query: a fact must match all parts that are given.
    """

    namespaces: Optional[list[str]] = None
    """
    The namespace is one of these.
    """
    types: Optional[list[str]] = None
    """
    The type is one of these.
    """
    aggregate_ids: Optional[list[str]] = None
    """
    The fact has all of these.
    """
    any_aggregate_id: Optional[list[str]] = None
    """
    The fact has at least one of these.
    """
    meta: Optional[dict[str, Union[str, list[str]]]] = None
    """
    The fact has all of these pairs.
    """


@dataclass(frozen=True)
class QueryBody:
    """
    Query for facts: a fact matches if it matches any item. Without items, every fact matches.
    """

    items: Optional[list[QueryItemBody]] = None


@dataclass(frozen=True)
class SubscriptionBody:
    """
    A subscription to create, or to bring into this form.
    """

    query: QueryBody
    """
    The facts that it is about.
    """
    ordering: Optional[Literal["aggregate", "all", "none"]] = None
    """
    Which facts are handed out one after the other: those that share an aggregate id, all of them, or none (default: aggregate). It cannot be changed.
    """
    ack_timeout_seconds: Optional[float] = None
    """
    How long a worker may keep a fact before others get it (default: 30).
    """
    max_attempts: Optional[int] = None
    """
    Attempts after which a fact is set aside (default: 5).
    """
    on_failure: Optional[Literal["park", "pause"]] = None
    """
    What happens then: the fact is parked, or the subscription pauses (default: park).
    """
    in_flight_max: Optional[int] = None
    """
    Facts that workers may have at once (default: 1000).
    """
    backoff: Optional[BackoffBody] = None
    """
    The delay of a fact that a worker returned.
    """
    start: Optional[str] = None
    """
    Where it begins, if it is created: `start`, `head`, a cursor, a position or the id of a fact, exclusive, or a time (default: `head`).
    """
