"""Conversion of the wire format to domain objects, and back; errors point into the body."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import UNSET
from uuid_utils import uuid7

from factwire.api.http.json_decoding import Payloads
from factwire.api.http.models import NewFactBody, PublishBody, QueryBody, QueryItemBody
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
    value_length_max,
)
from factwire.domain.limits import VALUES_MAX, Limits
from factwire.domain.position import FACT_ID
from factwire.domain.query import Item, Query, new_item

T = TypeVar("T")


def facts_from(body: PublishBody, payloads: Payloads, limits: Limits) -> list[NewFact]:
    """Facts of a request in their normal form. Raises InvalidRequest that names each invalid fact."""
    return build_facts(body.facts, lambda fact: fact_from(fact, payloads, limits), limits, pointer="/facts")


def build_facts(
    given: Sequence[T], make: Callable[[T], NewFact], limits: Limits, *, pointer: str, merges_equal: bool = False
) -> list[NewFact]:
    """Build a fact from each given value. Raises InvalidRequest that names each invalid one, and LimitExceeded.

    Equal facts, with their ids, are refused, or are one fact if `merges_equal`.
    """
    if not given:
        raise InvalidRequest([FieldError("expected at least one fact", pointer=pointer)])
    check_maximum(len(given), "facts_max", limits.facts_max, pointer, "facts")
    facts, wrong = build_facts_and_errors(given, make, limits, pointer)
    if wrong:
        raise InvalidRequest(wrong)
    if merges_equal:
        facts = list({(fact.id, fact.digest): fact for fact in facts}.values())
    twice = find_repeated([fact.id for fact in facts]) if len(facts) > 1 else None
    if twice is not None:
        raise InvalidRequest([FieldError(f"the id {twice} occurs twice in the request", pointer=pointer)])
    return facts


def build_facts_and_errors(
    given: Sequence[T], make: Callable[[T], NewFact], limits: Limits, pointer: str
) -> tuple[list[NewFact], list[FieldError]]:
    """Valid facts, and the errors of invalid ones. Raises LimitExceeded at the first fact beyond a limit."""
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
    """Refuse more postings than one request may have: all are written while no other request can publish."""
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
        version=1 if body.version is UNSET or body.version is None else body.version,
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


def query_from(body: QueryBody, limits: Limits) -> Query:
    return Query(tuple(parse_items(body.items or (), "/items", limits)))


def parse_items(bodies: Sequence[QueryItemBody], pointer: str, limits: Limits) -> Iterator[Item]:
    check_maximum(len(bodies), "query_items_max", limits.query_items_max, pointer, "items")
    values = 0
    for index, body in enumerate(bodies):
        item = item_from(body, f"{pointer}/{index}")
        values += item.values
        check_total(values, limits, pointer)
        yield item


def check_total(values: int, limits: Limits, pointer: str) -> None:
    """Refuse more values than one query may have: each of them is looked up."""
    check_maximum(values, "query_total_values_max", limits.query_total_values_max, pointer, "values in all items")


def item_from(body: QueryItemBody, pointer: str) -> Item:
    """One item of a query or condition. Most items have one part: those that are left out cost a look each."""
    if body.any_aggregate_id == []:
        raise invalid_field(f"{pointer}/any_aggregate_id", "expected at least one aggregate id")
    namespaces, types, aggregate_ids, any_aggregate_id = [
        values_from(values, name, pointer) if values else []
        for name, values in (
            ("namespaces", body.namespaces),
            ("types", body.types),
            ("aggregate_ids", body.aggregate_ids),
            ("any_aggregate_id", body.any_aggregate_id),
        )
    ]
    meta = meta_pairs_from(body.meta, f"{pointer}/meta") if body.meta else []
    return new_item(
        namespaces=namespaces, types=types, aggregate_ids=aggregate_ids, any_aggregate_id=any_aggregate_id, meta=meta
    )


def values_from(values: list[str], name: str, pointer: str) -> list[str]:
    check_maximum(len(values), "query_values_max", VALUES_MAX, f"{pointer}/{name}", "values")
    check_texts(values, f"{pointer}/{name}")
    return values


def meta_pairs_from(given: Mapping[str, str | list[str]], pointer: str) -> list[tuple[str, str]]:
    """Each value of meta with its key."""
    if any(":" in key for key in given):
        raise invalid_field(pointer, "a meta key has no ':'")
    if [] in given.values():
        raise invalid_field(pointer, "expected at least one value for each key")
    pairs = [
        (key, value) for key, values in given.items() for value in ([values] if isinstance(values, str) else values)
    ]
    check_maximum(len(pairs), "query_values_max", VALUES_MAX, pointer, "values")
    for key, value in pairs:
        check_texts((key, value), pointer, length_max=value_length_max(key))
    return pairs


def query_body_from(query: Query) -> QueryBody:
    """Query in the format that a client sends."""
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
        any_aggregate_id=[tag.removeprefix(AGGREGATE) for tag in item.any_tags] or UNSET,
        meta=meta,
    )


def below_pointer(pointer: str, field: FieldError) -> FieldError:
    return FieldError(field.detail, pointer=f"{pointer}{field.pointer or ''}")
