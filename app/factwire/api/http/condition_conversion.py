"""Conversion of the condition of a publish; errors point into the body."""

from collections.abc import Iterator, Sequence
from typing import TypeVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from factwire.api.http.model_conversion import check_total, item_from
from factwire.api.http.models import ConditionBody, ConditionItemBody
from factwire.domain.condition import (
    FAIL_IF_MATCH,
    FAIL_UNLESS_MATCH,
    WHOLE_LOG,
    Condition,
    FactBound,
    Precondition,
)
from factwire.domain.errors import FieldError, InvalidRequest
from factwire.domain.fact import check_maximum, invalid_field
from factwire.domain.limits import Limits
from factwire.domain.position import Cursor, parse_bound

CONDITION = "/condition"
T = TypeVar("T")
PARTS = ("namespaces", "types", "aggregate_ids", "meta")


def condition_from(body: ConditionBody | None, limits: Limits) -> Condition:
    """Condition of a publish. Raises InvalidRequest if it has no item, or a part of it that would not restrict it."""
    if body is None:
        raise invalid_field(CONDITION, "expected an object: leave the member out to publish without a condition")
    forbidden = items_of(body.fail_if_match, FAIL_IF_MATCH)
    needed = items_of(body.fail_unless_match, FAIL_UNLESS_MATCH)
    if not forbidden and not needed:
        raise invalid_field(CONDITION, f"expected at least one item in {FAIL_IF_MATCH} or {FAIL_UNLESS_MATCH}")
    after = after_from(body.after, f"{CONDITION}/after", default=None)
    if after is not None and not forbidden:
        detail = f"is for the items of {FAIL_IF_MATCH}: give each item of {FAIL_UNLESS_MATCH} its own"
        raise invalid_field(f"{CONDITION}/after", detail)
    check_maximum(len(forbidden) + len(needed), "query_items_max", limits.query_items_max, CONDITION, "items")
    preconditions = (
        *preconditions_from(forbidden, FAIL_IF_MATCH, after or WHOLE_LOG),
        *preconditions_from(needed, FAIL_UNLESS_MATCH, WHOLE_LOG),
    )
    check_total(sum([each.item.values for each in preconditions]), limits, CONDITION)
    return Condition(preconditions)


def items_of(given: list[ConditionItemBody] | UnsetType | None, name: str) -> Sequence[ConditionItemBody]:
    if given == []:
        raise invalid_field(f"{CONDITION}/{name}", "expected at least one item")
    return given or ()


def preconditions_from(
    bodies: Sequence[ConditionItemBody], name: str, default: Cursor | FactBound
) -> Iterator[Precondition]:
    for index, body in enumerate(bodies):
        pointer = f"/{name}/{index}"
        within = f"{CONDITION}{pointer}"
        for part in PARTS:
            values = getattr(body, part)
            if not values and values is not UNSET and values is not None:
                detail = "expected at least one value: an empty part would not restrict the item"
                raise invalid_field(f"{within}/{part}", detail)
        item = item_from(body, within)
        if not item.values:
            raise invalid_field(within, "an item of a condition needs at least one part")
        after = after_from(body.after, f"{within}/after", default=default)
        yield Precondition(item, after, pointer, must_match=name == FAIL_UNLESS_MATCH)


def after_from(given: int | str | UnsetType | None, pointer: str, *, default: T) -> Cursor | FactBound | T:
    """Bound of a condition. Raises InvalidRequest for `head` too: a condition after it would always hold."""
    if given is None or given is UNSET:
        return default
    try:
        bound = parse_bound(str(given))
    except ValueError:
        bound = "head"
    match bound:
        case "head":
            detail = "expected a cursor such as 1:42, a position, the id of a fact, or start"
            raise InvalidRequest([FieldError(detail, pointer=pointer)])
        case "start":
            return WHOLE_LOG
        case UUID():
            return FactBound(bound)
    return bound
