"""Repeated members of JSON objects: found by counting texts, which a body has more of than what was decoded from it.

A decoder takes the last of two members with one name. A proxy that looks at the first sees another request than the
service, so that they are refused, outside of payloads.
"""

import json
from contextlib import suppress
from typing import Any

import msgspec

from factwire.domain.errors import FieldError, InvalidRequest

QUOTE = ord('"')
BACKSLASH = ord("\\")
ESCAPED_BACKSLASH = b"\\\\"
ESCAPED_QUOTE = b'\\"'
NAME_SHOWN_MAX = 100
SEARCHED_BYTES_MAX = 64 * 1024
ENCODER = msgspec.json.Encoder()


def has_repeated_member(body: bytes, value: Any) -> bool:
    """Whether a member stands twice in a body, of which `value` was decoded: encoded again it has one of them only.

    What is raw in the value stands there as it was sent. No member that was not sent may have a value but UNSET. The
    encoding has no space and no needless escape: where the body is as short, it holds no more than that either.
    """
    again = ENCODER.encode(value)
    return len(again) != len(body) and quotes_in(again) != quotes_in(body)


def quotes_in(json_text: bytes) -> int:
    """How many quotes are the beginning or the end of a text, names of members included."""
    if BACKSLASH in json_text:
        json_text = json_text.replace(ESCAPED_BACKSLASH, b"").replace(ESCAPED_QUOTE, b"")
    return json_text.count(QUOTE)


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
