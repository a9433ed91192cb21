"""Messages of a decoder in plain words, with hints for common mistakes. Only refused bodies come here."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from msgspec import inspect

from factwire.api.http.duplicate_members import NAME_SHOWN_MAX

KINDS = {
    "array": "a list",
    "object": "an object",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
}
EXPECTED = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
WRAPPED = {"facts": "a fact"}  # members of a whole body, in whose place beginners send one of their items


def plain_message(text: str, body_type: Any, path: Sequence[str]) -> str:
    """Message of a decoder in plain words. `path` leads to the object, or to the value, that is wrong."""
    if unknown := UNKNOWN.fullmatch(text):
        return f"unknown member {unknown[1]}{hint(unknown[1], members_at(body_type, path), is_root=not path)}"
    if missing := MISSING.fullmatch(text):
        return f"the member {missing[1]} is missing"
    if expected := EXPECTED.fullmatch(text):
        kinds = [KINDS.get(kind, kind) for kind in expected[1].split(" | ") if kind != "null"]
        quoted = ': write it in quotation marks, as in "3"' if is_unquoted(expected[1], expected[2]) else ""
        return f"expected {' or '.join(kinds)}, not {KINDS.get(expected[2], expected[2])}{quoted}"
    return text


def is_unquoted(expected: str, given: str) -> bool:
    return "str" in expected.split(" | ") and given in ("int", "float", "bool")


def hint(given: str, members: dict[str, Any], *, is_root: bool) -> str:
    """The member that was probably meant, or the object that is missing around all of them."""
    if len(given) > NAME_SHOWN_MAX:
        return ""  # the search for similar names takes time in proportion to both
    plain = {name.replace("_", "").lower(): name for name in members}
    close = get_close_matches(given.replace("_", "").lower(), plain, n=1, cutoff=0.75)
    if close:
        name = plain[close[0]]
        listed = ", a list" if is_list(members[name]) and not given.endswith("s") and name.endswith("s") else ""
        return f": did you mean {name}{listed}?"
    for name, item in WRAPPED.items():
        if is_root and name in members and given in struct_members(members[name]):
            return f': put {item} into {{"{name}": [ … ]}}'
    return f": known are {', '.join(members)}" if members else ""


def members_at(body_type: Any, path: Sequence[str]) -> dict[str, Any]:
    """Members of the struct at a path in a type, with their types; empty if no struct is there."""
    found = type_info(body_type)
    for step in path:
        if step.isdecimal():
            found = first_of(found, inspect.ListType)
            found = found and found.item_type
        else:
            found = struct_members(found).get(step)
        if found is None:
            return {}
    return struct_members(found)


@cache
def type_info(body_type: Any) -> Any:
    return inspect.type_info(body_type)


def struct_members(given: Any) -> dict[str, Any]:
    """Members of a struct, of the items of a list, or of one of several types."""
    listed = first_of(given, inspect.ListType)
    struct = first_of(given if listed is None else listed.item_type, inspect.StructType)
    return {} if struct is None else {field.encode_name: field.type for field in struct.fields}


def first_of(given: Any, kind: type) -> Any:
    """A type, or the first of its alternatives, that is of a kind, without the description around it."""
    while isinstance(given, inspect.Metadata):
        given = given.type
    alternatives = given.types if isinstance(given, inspect.UnionType) else (given,)
    return next((each for each in alternatives if isinstance(each, kind)), None)


def is_list(given: Any) -> bool:
    return first_of(given, inspect.ListType) is not None
