"""Detection of repeated members in JSON objects, by counting strings: the body has more than its decoded value.

A decoder takes the last of two members with one name. A proxy that reads the first sees another request than the
service, so they are refused, except within payloads.
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
    """True if a body, of which `value` was decoded, repeats a member: `value` encoded again has it only once.

    Raw parts of the value are encoded as they were sent. A member that was not sent must have the value UNSET. The
    encoding has no space and no needless escape: a body of the same length has no more members than the encoding.
    """
    again = ENCODER.encode(value)
    return len(again) != len(body) and quotes_in(again) != quotes_in(body)


def quotes_in(json_text: bytes) -> int:
    """Number of quotes that begin or end a string, member names included."""
    if BACKSLASH in json_text:
        json_text = json_text.replace(ESCAPED_BACKSLASH, b"").replace(ESCAPED_QUOTE, b"")
    return json_text.count(QUOTE)


def repeated_member(body: bytes) -> InvalidRequest:
    """Error for a repeated member, with its name if that is found quickly."""
    names: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        names.extend([name for name, _ in pairs if name in seen or seen.add(name)])  # type: ignore[func-returns-value]

    if len(body) <= SEARCHED_BYTES_MAX:
        # A body that the decoder took may still be nested too deeply here, or have a number of too many digits.
        with suppress(RecursionError, ValueError):
            json.loads(body, object_pairs_hook=keep)
    named = f" ({names[-1][:NAME_SHOWN_MAX]})" if names else ""
    return InvalidRequest([FieldError(f"an object has a member twice{named}", pointer="")])
