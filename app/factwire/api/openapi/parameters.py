"""Query parameters in the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from factwire.api.openapi.bounds import BOUND, NAME_TEXT, PAIR, PLAIN, values
from factwire.api.openapi.schemas import LONG, TEXT, ref

REQUIRED = frozenset({"namespace=one"})


def describe(name: str) -> dict[str, Any]:
    """OpenAPI description of a query parameter. A suffix after `=` distinguishes two parameters of the same name."""
    schema, description, example = DESCRIPTIONS[name]
    repeatable: dict[str, Any] = {"style": "form", "explode": True} if schema.get("type") == "array" else {}
    return {
        "name": name.partition("=")[0],
        "in": "query",
        "required": name in REQUIRED,
        "description": description,
        "schema": schema,
        **({"example": example} if example is not None else {}),
        **repeatable,
    }


TEXTS = {"type": "array", **values({**TEXT, **PLAIN})}
PAIRS = {"type": "array", **values({**TEXT, **PAIR})}
TIME = {**TEXT, "format": "date-time"}
BOUND_TEXT = {**TEXT, **BOUND}

DESCRIPTIONS: Mapping[str, tuple[dict[str, Any], str, Any]] = {
    "namespace": (TEXTS, "The namespace is one of these.", ["shop"]),
    "type": (TEXTS, "The type is one of these.", ["OrderPlaced"]),
    "aggregate_id": (TEXTS, "The fact has all of these aggregate ids.", ["order-1"]),
    "any_aggregate_id": (TEXTS, "The fact has at least one of these aggregate ids.", None),
    "meta": (PAIRS, "The fact has all of these pairs, each `key:value`.", ["tenant:a"]),
    "query": (TEXT, "A query as JSON; not together with the other filters.", None),
    "after": (BOUND_TEXT, "Exclusive: a cursor, a position, the id of a fact, `start` or `head`.", "start"),
    "until": (BOUND_TEXT, "Inclusive: a cursor, a position, the id of a fact, or `head`.", None),
    "limit": ({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "Facts of one page at most.", 100),
    "order": (ref("SortOrder"), "Oldest or newest first.", "asc"),
    "wait_seconds": (
        {"type": "number", "format": "double", "minimum": 0, "maximum": 50, "default": 0},
        "How long an empty page waits for the first match.",
        0,
    ),
    "lastEventId": (TEXT, "The same as the header Last-Event-ID, which wins over it; it wins over `after`.", None),
    "heartbeat": ({"type": "integer", "minimum": 3, "maximum": 60}, "Seconds between signs of life.", 15),
    "event": (ref("EventNames"), "`type` names each event `<namespace>/<type>`.", None),
    "ticket": (TEXT, "A ticket for this query, in place of other credentials.", None),
    "from": (TIME, "The beginning, which is in the first interval (default: 60 intervals before `to`).", None),
    "to": (TIME, "The end, exclusive (default: now).", None),
    "interval": (
        {"type": "integer", "minimum": 60, "maximum": 604_800, "multipleOf": 60, "default": 60},
        "How long one interval is, in seconds.",
        60,
    ),
    # Not a schema with a name: Go would have two constants TYPE.
    "by": (
        {**TEXT, "enum": ["namespace", "type"]},
        "One series for each namespace, or for each type; without it, one for all.",
        None,
    ),
    "published_at_meta": (TEXT, "Keep the `published_at` of each line in meta, under this key.", None),
    "namespace=one": ({**TEXT, **NAME_TEXT}, "The namespace whose types are listed.", "shop"),
    "type=one": (TEXT, "Only this type, with its versions; not together with the parameters of a list.", None),
    "prefix": (TEXT, "Only names that begin with this.", None),
    "after=name": (TEXT, "Exclusive: the last name that was listed; `next` of the answer before.", None),
    "limit=names": (
        {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
        "Names of one page at most.",
        100,
    ),
    "limit=subscriptions": (
        {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
        "Subscriptions of one page at most.",
        20,
    ),
    "aggregate_id=one": ({**TEXT, **PLAIN}, "Only facts that have this aggregate id.", None),
    "after=position": (LONG, "Exclusive: the position of a fact; `next` of the answer before.", None),
    "at": (TIME, "The last fact published before this time.", None),
}
