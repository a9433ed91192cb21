"""Repeated members of JSON objects: found by counting texts, which a body has more of than what was decoded from it.

A decoder takes the last of two members with one name. A proxy that looks at the first sees another request than the
service, so that they are refused, outside of payloads.
"""

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from app.domain.errors import FieldError, InvalidRequest

if TYPE_CHECKING:
    from app.api.wire import NewFactBody, NewFactLine, PublishBody

ESCAPED_BACKSLASH = b"\\\\"
NAME_SHOWN_MAX = 100
SEARCHED_BYTES_MAX = 64 * 1024


def texts_in(json_text: bytes) -> int:
    """How many texts a JSON text has, the names of members included: half of its quotes, apart from escaped ones."""
    if b"\\" not in json_text:
        return json_text.count(b'"') // 2
    unescaped = json_text.replace(ESCAPED_BACKSLASH, b"")
    return (unescaped.count(b'"') - unescaped.count(b'\\"')) // 2


def texts_of(value: Any) -> int:
    """How many texts a decoded value stands for. Members that are UNSET were not there; no others have a default."""
    kind = type(value)
    if kind is str:
        return 1
    if kind is list:
        return len(value) if value and type(value[0]) is str else sum([texts_of(each) for each in value])
    if kind is dict:
        return len(value) + sum([texts_of(each) for each in value.values()])
    if kind is msgspec.Raw:
        return texts_in(bytes(value))
    members = [getattr(value, name) for name in getattr(kind, "__struct_fields__", ())]
    return sum([1 + texts_of(member) for member in members if member is not msgspec.UNSET])


def repeated_member(body: bytes) -> InvalidRequest:
    """That a member stands twice, by name where it is found quickly."""
    names: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        names.extend([name for name, _ in pairs if name in seen or seen.add(name)])  # type: ignore[func-returns-value]

    if len(body) <= SEARCHED_BYTES_MAX:
        # What the decoder takes may still be nested too deeply here, or have a number of too many digits.
        with suppress(RecursionError, ValueError):
            json.loads(body, object_pairs_hook=keep)
    named = f" ({names[-1][:NAME_SHOWN_MAX]})" if names else ""
    return InvalidRequest([FieldError(f"a member stands twice in an object{named}", pointer="")])


def texts_of_publish(body: "PublishBody") -> int:
    """How many texts a body has, the names of its members included; the same as texts_of, for the hot path."""
    condition = 0 if body.condition is UNSET else 1 + texts_of(body.condition)
    return 1 + sum([texts_of_fact(fact) for fact in body.facts]) + condition


def texts_of_fact(fact: "NewFactBody") -> int:
    texts = 5 + texts_in(bytes(fact.payload))  # namespace and type with their names, and the name of the payload
    if fact.id is not UNSET:
        texts += 1 if fact.id is None else 2
    if fact.version is not UNSET:
        texts += 1
    if fact.aggregate_ids is not UNSET:
        texts += 1 + len(fact.aggregate_ids)
    if fact.meta is not UNSET:
        texts += 1 + texts_of(fact.meta) if fact.meta else 1
    if fact.data_subject is not UNSET:
        texts += 1 if fact.data_subject is None else 2
    return texts


def texts_of_line(line: "NewFactLine") -> int:
    more = (line.position, line.published_at, line.redacted, line.erased, line.unreadable)
    return texts_of_fact(line) + sum([1 + texts_of(member) for member in more if member is not UNSET])
