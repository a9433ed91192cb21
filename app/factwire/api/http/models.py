"""The wire format, declared once: what requests and answers look like, and what becomes of them in the domain."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from uuid_utils import uuid7

from factwire.api.http.json_decoding import Payloads
from factwire.domain.condition import Condition
from factwire.domain.errors import FactwireError, FieldError, InvalidRequest, LimitExceeded
from factwire.domain.fact import (
    AGGREGATE,
    META,
    NewFact,
    check_maximum,
    check_texts,
    find_repeated,
    invalid_field,
    new_fact,
)
from factwire.domain.limits import ITEMS_MAX, VALUES_MAX, Limits
from factwire.domain.position import FACT_ID, Cursor, parse_cursor
from factwire.domain.query import Item, Query, new_item

T = TypeVar("T")

MetaValues = dict[str, str | list[str]]
Texts = list[str] | UnsetType


class NewFactBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A fact to publish."""

    namespace: Annotated[str, Meta(description="The owner of the type.", examples=["shop"])]
    type: Annotated[str, Meta(description="The kind of fact.", examples=["OrderPlaced"])]
    payload: Annotated[msgspec.Raw, Meta(description="Any JSON; it comes back as it was sent.")]
    id: Annotated[
        str | UnsetType | None,
        Meta(
            description="Makes retries safe: a UUID with hyphens. The store makes a UUIDv7 if none is given.",
            extra_json_schema={"format": "uuid"},
        ),
    ] = UNSET
    version: Annotated[
        int | UnsetType,
        Meta(description="The version of the payload's schema; 1 without it."),
    ] = UNSET
    aggregate_ids: Annotated[
        list[str] | UnsetType,
        Meta(description="The entities that the fact is about: a set."),
    ] = UNSET
    meta: Annotated[
        MetaValues | UnsetType,
        Meta(description="Small attributes to match on."),
    ] = UNSET
    data_subject: Annotated[
        str | UnsetType | None,
        Meta(description="Whose key encrypts the payload: a name that tells nothing of the person."),
    ] = UNSET


class NewFactLine(NewFactBody, forbid_unknown_fields=True, kw_only=True):
    """A fact to import. A line of an export can be taken as it is; its place in that log is passed over."""

    position: int | UnsetType | None = UNSET
    published_at: str | UnsetType | None = UNSET
    redacted: Annotated[bool | UnsetType, Meta(description="Its payload was taken out: it is skipped.")] = UNSET
    erased: Annotated[bool | UnsetType, Meta(description="Its payload was erased: it is skipped.")] = UNSET
    unreadable: Annotated[bool | UnsetType, Meta(description="Its payload was damaged: it is skipped.")] = UNSET


class QueryItemBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One item of a query: all parts that are given must match."""

    namespaces: Annotated[Texts, Meta(description="The namespace is one of these.")] = UNSET
    types: Annotated[Texts, Meta(description="The type is one of these.")] = UNSET
    aggregate_ids: Annotated[Texts, Meta(description="The fact has all of these.")] = UNSET
    meta: Annotated[MetaValues | UnsetType, Meta(description="The fact has all of these pairs.")] = UNSET


class QueryBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which facts: any item matches. Without items, every fact."""

    items: list[QueryItemBody] | UnsetType = UNSET


class ConditionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Publish only if no fact matches any of the items after a position."""

    fail_if_match: list[QueryItemBody]
    after: Annotated[
        int | str | UnsetType,
        Meta(description="A cursor or a position, exclusive; the whole log without it."),
    ] = UNSET


class PublishBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Facts to publish together, at consecutive positions, or not at all."""

    facts: list[NewFactBody]
    condition: ConditionBody | UnsetType | None = UNSET


class PublishedFact(msgspec.Struct):
    """Where a fact stands."""

    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    position: int


class PublishResult(msgspec.Struct):
    """Where the facts of a request stand."""

    facts: list[PublishedFact]
    position: Annotated[int, Meta(description="The position of the last of them.")]
    cursor: Annotated[str, Meta(description="The cursor behind them.")]
    published_at: Annotated[str | None, Meta(description="RFC 3339, UTC; null if the facts were archived.")]


class Fact(msgspec.Struct, kw_only=True):
    """A published fact."""

    position: int
    published_at: str
    id: UUID
    namespace: str
    type: str
    version: int
    data_subject: Annotated[str | UnsetType, Meta(description="Whose key encrypts the payload.")] = UNSET
    aggregate_ids: list[str]
    meta: MetaValues
    payload: Any
    redacted: Annotated[bool | UnsetType, Meta(description="The payload was taken out.")] = UNSET
    erased: Annotated[bool | UnsetType, Meta(description="The key was destroyed, and with it the payload.")] = UNSET
    unreadable: Annotated[bool | UnsetType, Meta(description="The stored fact is damaged: its columns are left.")] = (
        UNSET
    )


class Page(msgspec.Struct):
    """One page of history."""

    facts: list[Fact]
    position: Annotated[int, Meta(description="How far the page came, matches or not.")]
    cursor: Annotated[str, Meta(description="Where to go on.")]
    head: Annotated[int, Meta(description="The position of the newest fact.")]
    caught_up: Annotated[bool, Meta(description="Whether the end of what was asked for is reached.")]
    until: Annotated[str | UnsetType, Meta(description="Descending: the next page's `until`.")] = UNSET


class LogPosition(msgspec.Struct):
    """A position of the log."""

    position: int
    cursor: str
    head: int
    published_at: str | None


class ErasedDataSubject(msgspec.Struct):
    """A data subject whose key was destroyed."""

    data_subject: str
    erased_at: str


class RedactionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a payload is taken out."""

    reason: Annotated[str, Meta(description="Kept for ever, and told to followers.", examples=["published by mistake"])]


class Redaction(msgspec.Struct):
    """A fact whose payload was taken out."""

    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    position: int
    reason: str
    redacted_at: str


class Skipped(msgspec.Struct):
    """Lines of an export that were left out, by reason; `reserved` are facts about the other log itself."""

    redacted: int = 0
    erased: int = 0
    unreadable: int = 0
    reserved: int = 0


class ImportCounts(msgspec.Struct):
    """How far an import came."""

    lines: int = 0
    published: int = 0
    replayed: int = 0
    position: int = 0
    cursor: str = "start"
    skipped: Annotated[Skipped | UnsetType, Meta(description="Left out where no line was skipped.")] = UNSET


class ProblemField(msgspec.Struct):
    """What is wrong with one field."""

    detail: str
    pointer: Annotated[str | UnsetType, Meta(description="A JSON pointer into the body.")] = UNSET
    parameter: Annotated[str | UnsetType, Meta(description="The name of a parameter.")] = UNSET


class Problem(msgspec.Struct, kw_only=True):
    """What went wrong (RFC 9457). What there is beside the first four depends on the type; docs/problems.md tells."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] | UnsetType = UNSET
    id: str | UnsetType = UNSET
    ids: list[str] | UnsetType = UNSET
    position: int | UnsetType = UNSET
    epoch: int | UnsetType = UNSET
    head: int | UnsetType = UNSET
    floor: int | UnsetType = UNSET
    forked_after: int | UnsetType = UNSET
    limit: str | UnsetType = UNSET
    maximum: int | UnsetType = UNSET
    expected: str | UnsetType = UNSET
    data_subject: str | UnsetType = UNSET
    retry_after_seconds: float | UnsetType = UNSET
    line: Annotated[int | UnsetType, Meta(description="Of an import: the line that failed, from 1.")] = UNSET
    progress: Annotated[ImportCounts | UnsetType, Meta(description="Of an import: what is committed.")] = UNSET


class ImportLine(msgspec.Struct):
    """A line of the answer to an import: `progress` now and then, and as the last one `result` or `problem`."""

    progress: ImportCounts | UnsetType = UNSET
    result: ImportCounts | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET


def facts_from(body: PublishBody, payloads: Payloads, limits: Limits) -> list[NewFact]:
    """The facts of a request in their normal form. Raises InvalidRequest naming each fact that is wrong."""
    return build_facts(body.facts, lambda fact: fact_from(fact, payloads, limits), limits, pointer="/facts")


def build_facts(given: Sequence[T], make: Callable[[T], NewFact], limits: Limits, *, pointer: str) -> list[NewFact]:
    """A fact from each of what was given. Raises InvalidRequest naming each that is wrong, and LimitExceeded."""
    if not given:
        raise InvalidRequest([FieldError("expected at least one fact", pointer=pointer)])
    check_maximum(len(given), "facts_max", limits.facts_max, pointer, "facts")
    facts, wrong = build_facts_and_errors(given, make, limits, pointer)
    if wrong:
        raise InvalidRequest(wrong)
    twice = find_repeated([fact.id for fact in facts]) if len(facts) > 1 else None
    if twice is not None:
        raise InvalidRequest([FieldError(f"the id {twice} stands twice in the request", pointer=pointer)])
    return facts


def build_facts_and_errors(
    given: Sequence[T], make: Callable[[T], NewFact], limits: Limits, pointer: str
) -> tuple[list[NewFact], list[FieldError]]:
    """The facts, and what is wrong with others. Raises LimitExceeded at the first that is beyond a limit."""
    facts: list[NewFact] = []
    wrong: list[FieldError] = []
    postings = len(given)
    for index, one in enumerate(given):
        try:
            facts.append(make(one))
        except FactwireError as error:
            within = [below_pointer(f"{pointer}/{index}", field) for field in error.members["errors"]]
            if isinstance(error, LimitExceeded):
                raise LimitExceeded(error.members["limit"], error.members["maximum"], field=within[0]) from None
            wrong.extend(within)
            continue
        postings += len(facts[-1].tags)
        if postings > limits.postings_max:
            raise_postings(limits, pointer)
    return facts, wrong


def raise_postings(limits: Limits, pointer: str) -> None:
    """Refuse more postings than one request may have: all of them are written while nobody else publishes."""
    detail = (
        f"the facts have more than the {limits.postings_max} postings of postings_max: "
        "each aggregate id, each value of meta and the type of each fact is one"
    )
    field = FieldError(detail, pointer=pointer)
    raise LimitExceeded("postings_max", limits.postings_max, field=field)


def fact_from(body: NewFactBody, payloads: Payloads, limits: Limits) -> NewFact:
    """One fact in its normal form. Raises InvalidRequest or LimitExceeded with pointers relative to the fact."""
    return new_fact(
        id=str(uuid7()) if body.id is None or body.id is UNSET else canonical_id(body.id),
        namespace=body.namespace,
        type=body.type,
        version=1 if body.version is UNSET else body.version,
        aggregate_ids=body.aggregate_ids or [],
        meta=body.meta or {},
        payload=payloads.verbatim(body.payload),
        limits=limits,
        chosen_id=isinstance(body.id, str),
        data_subject=None if body.data_subject is UNSET else body.data_subject,
    )


def canonical_id(given: str) -> str:
    if FACT_ID.fullmatch(given) is None:
        raise invalid_field("/id", "expected a UUID such as 0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10")
    return given.lower()


def query_from(body: QueryBody) -> Query:
    return Query(items_from(body.items or (), "/items"))


def condition_from(body: ConditionBody) -> Condition:
    """Raises InvalidRequest where the condition lists nothing, or an item restricts nothing."""
    pointer = "/condition/fail_if_match"
    if not body.fail_if_match:
        raise invalid_field(pointer, "expected at least one item")
    items = items_from(body.fail_if_match, pointer)
    for index, item in enumerate(items):
        if item == Item():
            raise invalid_field(f"{pointer}/{index}", "an item of a condition needs at least one part")
    return Condition(Query(items), condition_after(0 if body.after is UNSET else body.after))


def condition_after(after: int | str) -> Cursor:
    try:
        if isinstance(after, str):
            return parse_cursor(after)
        return parse_cursor(str(after))
    except ValueError as error:
        raise invalid_field("/condition/after", str(error)) from None


def items_from(bodies: Sequence[QueryItemBody], pointer: str) -> tuple[Item, ...]:
    return tuple(parse_items(bodies, pointer))


def parse_items(bodies: Sequence[QueryItemBody], pointer: str) -> Iterator[Item]:
    check_maximum(len(bodies), "query_items_max", ITEMS_MAX, pointer, "items")
    for index, body in enumerate(bodies):
        yield item_from(body, f"{pointer}/{index}")


def item_from(body: QueryItemBody, pointer: str) -> Item:
    given = body.meta or {}
    if any(":" in key for key in given):
        raise invalid_field(f"{pointer}/meta", "a meta key has no ':'")
    if [] in given.values():
        raise invalid_field(f"{pointer}/meta", "expected at least one value for each key")
    meta = [
        (key, value) for key, values in given.items() for value in ([values] if isinstance(values, str) else values)
    ]
    namespaces, types, aggregate_ids = body.namespaces or [], body.types or [], body.aggregate_ids or []
    parts = {
        "namespaces": namespaces,
        "types": types,
        "aggregate_ids": aggregate_ids,
        "meta": [text for pair in meta for text in pair],
    }
    for name, values in parts.items():
        count = len(meta) if name == "meta" else len(values)
        check_maximum(count, "query_values_max", VALUES_MAX, f"{pointer}/{name}", "values")
        check_texts(values, f"{pointer}/{name}")
    return new_item(namespaces=namespaces, types=types, aggregate_ids=aggregate_ids, meta=meta)


def query_body_from(query: Query) -> QueryBody:
    """A query as a client gives it."""
    return QueryBody(items=[item_body_from(item) for item in query.items])


def item_body_from(item: Item) -> QueryItemBody:
    meta: dict[str, str | list[str]] = {}
    for tag in item.tags:
        if tag.startswith(META):
            key, _, value = tag.removeprefix(META).partition(":")
            given = meta.get(key, [])
            meta[key] = [*([given] if isinstance(given, str) else given), value]
    return QueryItemBody(
        namespaces=list(item.namespaces),
        types=list(item.types),
        aggregate_ids=[tag.removeprefix(AGGREGATE) for tag in item.tags if tag.startswith(AGGREGATE)],
        meta=meta,
    )


def below_pointer(pointer: str, field: FieldError) -> FieldError:
    return FieldError(field.detail, pointer=f"{pointer}{field.pointer or ''}")
