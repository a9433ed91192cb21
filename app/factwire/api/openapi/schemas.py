"""The structs of the wire as the schemas of the OpenAPI document, told so that generated clients read well.

The service takes and gives what the structs say. Only how it is told changes: generators make a class of each choice,
with a name of their own if it has none, take an integer for one of 32 bits, and a member with a default for one that
is always there (openapi-typescript, `defaultNonNullable`).
"""

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]

TEMPLATE = "#/components/schemas/{name}"
NULL = {"type": "null"}
TEXT = {"type": "string"}
UUID_TEXT = {"type": "string", "format": "uuid"}
LINES = {"type": "string", "format": "binary"}  # as OpenAPI 3.0 had it: generators write it to a file, or read bytes
TEXTS = {"type": "array", "items": TEXT}
LONG = {"type": "integer", "format": "int64"}
ITEM_SCHEMA = "itemSchema"  # new in OpenAPI 3.2
FORMATS = {"integer": "int64", "number": "double"}
SHORT = {"version", "versions", "factversion", "status"}  # members whose integers have no more than 32 bits

# What several structs and parameters share without being a struct, by the name that its class shall have.
SHARED: dict[str, Schema] = {
    "Bound": {"title": "Bound", "description": "A cursor, or a position.", "oneOf": [LONG, TEXT]},
    "EventNames": {"title": "EventNames", "type": "string", "enum": ["type"]},
    "MetaValue": {"title": "MetaValue", "description": "One value, or several.", "oneOf": [TEXT, TEXTS]},
    "SortOrder": {"title": "SortOrder", "type": "string", "enum": ["asc", "desc"], "default": "asc"},
}


def schemas_of(structs: Iterable[type]) -> dict[str, Schema]:
    """The schemas of structs and of all that they consist of, by name."""
    _, made = msgspec.json.schema_components(structs, ref_template=TEMPLATE)
    return dict(sorted({**{name: simplify(schema) for name, schema in made.items()}, **SHARED}.items()))


def ref(name: str) -> Schema:
    return {"$ref": TEMPLATE.format(name=name)}


def simplify(schema: Schema, *, can_be_null: bool = True) -> Schema:
    """A schema with all below it, as generators understand it best."""
    required = schema.get("required", ())
    told_below = {name: simplify_below(name, value, required) for name, value in schema.items() if name != "default"}
    if told_below.get("type") in FORMATS:
        return {"format": FORMATS[told_below["type"]], **told_below}
    return name_choice(told_below, can_be_null=can_be_null) if "anyOf" in told_below else told_below


def simplify_below(name: str, value: Any, required: Collection[str]) -> Any:
    match name:
        case "properties":
            return {
                member: simplify_member(member, schema, can_be_null=member in required)
                for member, schema in value.items()
            }
        case "items" | "additionalProperties" if isinstance(value, dict):
            return simplify(value)
        case "anyOf":
            return [simplify(schema) for schema in value]
    return value


def name_choice(schema: Schema, *, can_be_null: bool) -> Schema:
    """A choice by its name. One of something and null is that thing, which is null only where it has to be given."""
    for name, shared in SHARED.items():
        if shared.get("oneOf") == schema["anyOf"]:
            del schema["anyOf"]
            return {**ref(name), **schema}
    [something] = [one for one in schema.pop("anyOf") if one != NULL]
    return {**something, **schema, **({"type": [something["type"], NULL["type"]]} if can_be_null else {})}


def simplify_member(name: str, schema: Schema, *, can_be_null: bool) -> Schema:
    """What is called `…_at` is a time, here as everywhere."""
    if name.endswith("_at"):
        return {**simplify(schema, can_be_null=can_be_null), "format": "date-time"}
    if name in SHORT:
        return {key: value for key, value in schema.items() if key != "default"}
    return simplify(schema, can_be_null=can_be_null)


def event_of(data: Schema) -> Schema:
    """An event of a stream whose facts are told in a certain way."""
    moved = {"type": "object", "properties": {"position": LONG, "head": LONG}, "required": ["position"]}
    return {
        "type": "object",
        "properties": {
            "id": {**TEXT, "description": "The cursor behind it."},
            "event": {
                **TEXT,
                "description": "`caught-up`, `position` or `problem`. A fact has none, or what `event` asked for.",
            },
            "data": {
                **TEXT,
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [data, moved, ref("Problem")]},
            },
        },
        "required": ["id", "data"],
    }
