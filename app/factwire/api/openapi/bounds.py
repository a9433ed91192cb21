"""Bounds of members and parameters, as they are enforced, for the schemas of the OpenAPI document.

They are kept apart from the structs, because the service checks them itself, with messages of its own, and because an
operator can set some of them.
"""

from typing import Any

from factwire.auth.keys import GRACE_SECONDS_MAX, KEY_NAME_LENGTH_MAX
from factwire.domain.fact import META_KEY, NAME
from factwire.domain.limits import EVENT_TEXT_LENGTH_MAX, NAME_LENGTH_MAX, TEXT_LENGTH_MAX, VALUES_MAX, VERSION_MAX
from factwire.domain.position import CURSOR, FACT_ID, POSITION_MAX
from factwire.domain.subscription import (
    ACK_TIMEOUT_SECONDS_MAX,
    ATTEMPTS_MAX,
    BACKOFF_FACTOR_MAX,
    BACKOFF_SECONDS_MAX,
    IN_FLIGHT_MAX,
    LEASES_MAX,
    POSITIONS_MAX,
    REASON_LENGTH_MAX,
    TOKEN,
    WORKER_LENGTH_MAX,
)
from factwire.settings import Settings

Schema = dict[str, Any]
Members = dict[str, Schema]

CONTROLS = r"\x00-\x1f\x7f-\x9f"
NAME_TEXT: Schema = {"minLength": 1, "maxLength": NAME_LENGTH_MAX, "pattern": f"^{NAME.pattern}$"}
NAMESPACE_PATTERN: Schema = {
    "minLength": 1,
    "maxLength": NAME_LENGTH_MAX + 2,
    "pattern": rf"^({NAME.pattern}(\.\*)?|\*)$",
}
TYPE_TEXT: Schema = {
    "minLength": 1,
    "maxLength": NAME_LENGTH_MAX,
    "pattern": rf"^[^\s{CONTROLS}\u2028\u2029]([^{CONTROLS}\u2028\u2029]*[^\s{CONTROLS}\u2028\u2029])?$",
}
PLAIN: Schema = {"maxLength": TEXT_LENGTH_MAX, "pattern": f"^[^{CONTROLS}]*$"}
LONG_PLAIN: Schema = {"maxLength": EVENT_TEXT_LENGTH_MAX, "pattern": f"^[^{CONTROLS}]*$"}
NOT_EMPTY: Schema = {"minLength": 1}
VERSION: Schema = {"minimum": 1, "maximum": VERSION_MAX}
PAIR: Schema = {"maxLength": 2 * EVENT_TEXT_LENGTH_MAX + 1, "pattern": "^[^:]+:"}
BOUND: Schema = {"pattern": f"^(start|head|{CURSOR.pattern}|{FACT_ID.pattern})$"}
CONDITION_BOUND: Schema = {"pattern": f"^(start|{CURSOR.pattern}|{FACT_ID.pattern})$"}


def values(text: Schema, *, least: int = 0, most: int = VALUES_MAX) -> Schema:
    """Bounds of an array of texts."""
    return {**({"minItems": least} if least else {}), "maxItems": most, "items": text}


def schema_bounds(settings: Settings) -> dict[str, Schema]:
    """Bounds of schemas by name, nested as these schemas are."""
    pairs = {"propertyNames": {"maxLength": NAME_LENGTH_MAX, "pattern": f"^{META_KEY.pattern}$"}}
    items: Schema = {"minItems": 1, "maxItems": settings.query_items_max}
    fact: Members = {
        "namespace": NAME_TEXT,
        "type": TYPE_TEXT,
        "id": {"pattern": f"^{FACT_ID.pattern}$"},
        "version": VERSION,
        "aggregate_ids": values(PLAIN, most=settings.aggregate_ids_max),
        "meta": {"maxProperties": settings.meta_keys_max, **pairs},
        "data_subject": NAME_TEXT,
    }
    patterns: Members = {name: values(NAMESPACE_PATTERN) for name in ("include", "exclude")}
    return {
        "Bound": {"oneOf": [{"minimum": 0}, CONDITION_BOUND]},
        "CloudEvent": {"properties": event_bounds()},
        "ConditionBody": {"minProperties": 1, "properties": {"fail_if_match": items, "fail_unless_match": items}},
        "ConditionItemBody": {"minProperties": 1, "properties": item_bounds(least=1)},
        "KeyBody": {"properties": {"name": {**PLAIN, "minLength": 1, "maxLength": KEY_NAME_LENGTH_MAX}}},
        "MetaValue": {"oneOf": [LONG_PLAIN, values(LONG_PLAIN, least=1)]},
        "NamespacesBody": {"properties": patterns},
        "NewFactBody": {"properties": fact},
        "NewFactLine": {"properties": fact},
        "PublishBody": {"properties": {"facts": {"minItems": 1, "maxItems": settings.facts_max}}},
        "QueryBody": {"properties": {"items": {"maxItems": settings.query_items_max}}},
        "QueryItemBody": {"properties": item_bounds(least=0)},
        "RedactionBody": {"properties": {"reason": {**PLAIN, "minLength": 1}}},
        **subscription_bounds(),
        "RotationBody": {"properties": {"grace_seconds": {"minimum": 0, "maximum": GRACE_SECONDS_MAX}}},
    }


def subscription_bounds() -> dict[str, Schema]:
    """Bounds of the schemas of subscriptions."""
    delay = {"minimum": 0, "maximum": BACKOFF_SECONDS_MAX}
    factor = {"minimum": 1, "maximum": BACKOFF_FACTOR_MAX}
    timeout = {"minimum": 1, "maximum": ACK_TIMEOUT_SECONDS_MAX}
    rules: Members = {
        "ack_timeout_seconds": timeout,
        "max_attempts": {"minimum": 1, "maximum": ATTEMPTS_MAX},
        "in_flight_max": {"minimum": 1, "maximum": IN_FLIGHT_MAX},
    }
    leases: Members = {"leases": {"minItems": 1, "maxItems": LEASES_MAX, "items": {"pattern": f"^{TOKEN.pattern}$"}}}
    reason: Members = {"reason": {**PLAIN, "maxLength": REASON_LENGTH_MAX}}
    worker = {**PLAIN, **NOT_EMPTY, "maxLength": WORKER_LENGTH_MAX}
    position = {"minimum": 1, "maximum": POSITION_MAX}
    return {
        "AcknowledgeBody": {"properties": {"subscription": NAME_TEXT, **leases}},
        "BackoffBody": {"properties": {"first_seconds": delay, "factor": factor, "most_seconds": delay}},
        "ChangeSubscriptionBody": {"properties": rules},
        "ClaimBody": {
            "properties": {
                "worker": worker,
                "limit": {"minimum": 1, "maximum": LEASES_MAX},
                "wait_seconds": {"minimum": 0, "maximum": 300},
            }
        },
        "ExtendBody": {"properties": {**leases, "seconds": timeout}},
        "LeasesBody": {"properties": leases},
        "NackBody": {"properties": {**leases, **reason, "retry_after_seconds": delay}},
        "ParkedSelection": {"properties": {"positions": {"maxItems": POSITIONS_MAX, "items": position}}},
        "PauseBody": {"properties": reason},
        "SubscriptionBody": {"properties": rules},
    }


def item_bounds(*, least: int) -> Members:
    """Bounds of an item of a query, with at least `least` values in a list; a list of alternatives has at least one."""
    keys = {"propertyNames": {"maxLength": EVENT_TEXT_LENGTH_MAX, "pattern": "^[^:]*$"}}
    return {
        **{name: values(PLAIN, least=least) for name in ("namespaces", "types", "aggregate_ids")},
        "any_aggregate_id": values(PLAIN, least=1),
        "meta": {"maxProperties": VALUES_MAX, **({"minProperties": least} if least else {}), **keys},
    }


def page_bounds(settings: Settings) -> Members:
    """Bounds of the query parameters of a page of facts, which an operator can set."""
    return {"limit": {"maximum": settings.page_facts_max}, "wait_seconds": {"maximum": settings.wait_seconds_max}}


def merge(schema: Schema, bounds: Schema) -> Schema:
    """A schema with bounds added to it and to the schemas within it."""
    merged = dict(schema)
    for name, added in bounds.items():
        match merged.get(name), added:
            case dict() as found, dict():
                merged[name] = merge(found, added)
            case list() as found, list():
                merged[name] = [merge(each, bound) for each, bound in zip(found, added, strict=True)]
            case _:
                merged[name] = added
    return merged


def event_bounds() -> Members:
    """Bounds of the attributes of a CloudEvent."""
    return {
        "specversion": {"enum": ["1.0"]},
        "id": {**LONG_PLAIN, **NOT_EMPTY},
        "source": {**LONG_PLAIN, **NOT_EMPTY},
        "type": TYPE_TEXT,
        "subject": {**LONG_PLAIN, **NOT_EMPTY},
        "dataschema": LONG_PLAIN,
        "datacontenttype": LONG_PLAIN,
        "namespace": NAME_TEXT,
        "factversion": VERSION,
        "factsubject": NAME_TEXT,
    }
