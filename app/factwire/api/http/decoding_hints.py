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
# Members of a whole body, in whose place beginners send what belongs into them.
WRAPPED = {
    "facts": 'put a fact into {"facts": [ … ]}',
    "items": 'put an item into {"items": [ … ]}',
    "condition": 'put it into {"condition": { … }}',
}
SYNONYMS = {  # words of other stores, without underscores and capitals
    "events": "facts",
    "data": "payload",
    "body": "payload",
    "metadata": "meta",
    "headers": "meta",
    "eventtype": "type",
    "eventid": "id",
    "stream": "aggregate_ids",
    "streamid": "aggregate_ids",
    "streamname": "aggregate_ids",
    "subject": "aggregate_ids",
    "tags": "aggregate_ids",
    "expectedversion": "condition",
    "expectedrevision": "condition",
}
URL_PARAMETERS = frozenset({"after", "until", "limit", "order", "wait_seconds", "heartbeat"})


def plain_message(text: str, body_type: Any, path: Sequence[str]) -> str:
    """Message of a decoder in plain words. `path` leads to the object, or to the value, that is wrong."""
    if unknown := UNKNOWN.fullmatch(text):
        meant = hint(unknown[1], members_at(body_type, path), members_at(body_type, ()), path)
        return f"unknown member {unknown[1]}{meant}"
    if missing := MISSING.fullmatch(text):
        return f"the member {missing[1]} is missing"
    if expected := EXPECTED.fullmatch(text):
        kinds = [KINDS.get(kind, kind) for kind in expected[1].split(" | ") if kind != "null"]
        remedy = remedy_for(expected[1].split(" | "), expected[2], members_at(body_type, path) if not path else {})
        return f"expected {' or '.join(kinds)}, not {KINDS.get(expected[2], expected[2])}{remedy}"
    return text


def remedy_for(expected: Sequence[str], given: str, members: dict[str, Any]) -> str:
    """How to write a value of another kind than expected. `members` are those of a whole body."""
    if "str" in expected and given in ("int", "float", "bool"):
        return ': write it in quotation marks, as in "3"'
    if "array" in expected and given in ("str", "object", "int", "float"):
        return ": write it in brackets, as in [ … ]"
    wrapped = next((name for name in WRAPPED if name in members), None)
    return f": {WRAPPED[wrapped]}" if wrapped and given == "array" else ""


def hint(given: str, members: dict[str, Any], of_body: dict[str, Any], path: Sequence[str]) -> str:
    """The member that was probably meant, or the object that is missing around it, or that it belongs into."""
    if len(given) > NAME_SHOWN_MAX:
        return ""  # the search for similar names takes time in proportion to both
    plain = {name.replace("_", "").lower(): name for name in members}
    close = get_close_matches(given.replace("_", "").lower(), plain, n=1, cutoff=0.75)
    if close:
        name = plain[close[0]]
        listed = ", a list" if is_list(members[name]) and not given.endswith("s") and name.endswith("s") else ""
        return f": did you mean {name}{listed}?"
    for name, remedy in WRAPPED.items():
        if not path and name in members and given in struct_members(members[name]):
            return f": {remedy}"
    if path and given in of_body:
        return f": {given} is a member of the whole body"
    if not path and given in URL_PARAMETERS and "items" in members:
        return f": {given} is a parameter of the URL"
    synonym = SYNONYMS.get(given.replace("_", "").lower())
    if synonym in members:
        return f": did you mean {synonym}{', a list' if is_list(members[synonym]) else ''}?"
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
