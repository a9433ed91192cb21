"""Schemas of the OpenAPI document, made from the wire structs and simplified so that generated clients read well.

The service accepts and returns exactly the structs. Only the description changes: generators make a class of each
choice, with an invented name if it has none, treat an integer as one of 32 bits, and treat a member with a default as
always present (openapi-typescript, `defaultNonNullable`).
"""

from collections.abc import Collection, Iterable
from inspect import cleandoc
from typing import Any

import msgspec

Schema = dict[str, Any]

TEMPLATE = "#/components/schemas/{name}"
NULL = {"type": "null"}
TEXT = {"type": "string"}
UUID_TEXT = {"type": "string", "format": "uuid"}
NULLABLE = "nullable"  # of an optional member of an answer: null is a value of its own
LINES = {"type": "string", "format": "binary"}  # as in OpenAPI 3.0: generators write it to a file, or read bytes
TEXTS = {"type": "array", "items": TEXT}
LONG = {"type": "integer", "format": "int64"}
ITEM_SCHEMA = "itemSchema"  # new in OpenAPI 3.2
FORMATS = {"integer": "int64", "number": "double"}
SHORT = {"version", "versions", "factversion", "status"}  # members whose integers have no more than 32 bits

# Schemas that several structs and parameters share and that are not structs, by the name of the generated class.
SHARED: dict[str, Schema] = {
    "Bound": {"title": "Bound", "description": "A cursor, or a position.", "oneOf": [LONG, TEXT]},
    "EventNames": {"title": "EventNames", "type": "string", "enum": ["type"]},
    "MetaValue": {"title": "MetaValue", "description": "One value, or several.", "oneOf": [TEXT, TEXTS]},
    "SortOrder": {"title": "SortOrder", "type": "string", "enum": ["asc", "desc"], "default": "asc"},
}


def schemas_of(structs: Iterable[type]) -> dict[str, Schema]:
    """The schemas of structs and of all types that they contain, by name."""
    _, made = msgspec.json.schema_components(structs, ref_template=TEMPLATE)
    return dict(sorted({**{name: simplify(schema) for name, schema in made.items()}, **SHARED}.items()))


def ref(name: str) -> Schema:
    return {"$ref": TEMPLATE.format(name=name)}


def simplify(schema: Schema, *, can_be_null: bool = True) -> Schema:
    """A schema with all schemas below it, in the form that client generators handle best."""
    required = schema.get("required", ())
    simplified = {name: simplify_below(name, value, required) for name, value in schema.items() if name != "default"}
    if "enum" in simplified:
        simplified = {**TEXT, **simplified}
    if simplified.get("type") in FORMATS:
        return {"format": FORMATS[simplified["type"]], **simplified}
    return name_choice(simplified, can_be_null=can_be_null) if "anyOf" in simplified else simplified


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
        case "description":
            return cleandoc(value)
    return value


def name_choice(schema: Schema, *, can_be_null: bool) -> Schema:
    """A named choice as a reference. A choice of a type and null becomes that type, nullable only if it is required."""
    choices = [one for one in schema.pop("anyOf") if one != NULL]
    for name, shared in SHARED.items():
        if shared.get("oneOf") == choices:
            return {**ref(name), **schema}
    [something] = choices
    return {**something, **schema, **({"type": [something["type"], NULL["type"]]} if can_be_null else {})}


def simplify_member(name: str, schema: Schema, *, can_be_null: bool) -> Schema:
    """The schema of a member. A name that ends in `_at` means a time, here as everywhere."""
    can_be_null = schema.pop(NULLABLE, False) or can_be_null
    if name.endswith("_at"):
        return {**simplify(schema, can_be_null=can_be_null), "format": "date-time"}
    if name in SHORT:
        return {name: value for name, value in simplify(schema, can_be_null=can_be_null).items() if name != "format"}
    return simplify(schema, can_be_null=can_be_null)


def event_of(data: Schema) -> Schema:
    """The schema of an event of a stream. `data` is the schema of its facts."""
    moved = {"type": "object", "properties": {"position": LONG, "head": LONG}, "required": ["position"]}
    return {
        "type": "object",
        "properties": {
            "id": {**TEXT, "description": "The cursor after it."},
            "event": {
                **TEXT,
                "description": "`caught-up`, `position` or `problem`. Absent for a fact, unless `event` names one.",
            },
            "data": {
                **TEXT,
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [data, moved, ref("Problem")]},
            },
        },
        "required": ["id", "data"],
    }
