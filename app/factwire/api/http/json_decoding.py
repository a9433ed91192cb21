"""Decoding of JSON bodies into the structs of the wire format, with errors that point at the invalid part.

For any content, decoding takes time in proportion to the size of the body, with a small constant, also if the body is
refused: a body may have megabytes, and while one is decoded the process does nothing else.
"""

import re
import secrets
from collections.abc import Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from factwire.api.http.decoding_hints import UNKNOWN as UNKNOWN_FIELD
from factwire.api.http.decoding_hints import plain_message
from factwire.api.http.duplicate_members import (
    ESCAPED_BACKSLASH,
    NAME_SHOWN_MAX,
    SEARCHED_BYTES_MAX,
    has_repeated_member,
    repeated_member,
)
from factwire.domain.errors import FactwireError, FieldError, InvalidRequest, MalformedJson
from factwire.domain.fact import escape_pointer

T = TypeVar("T")

NUL = b"\x00"  # occurs in no JSON text
NEUTRAL = NUL * 2
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
LONE_SURROGATE = re.compile(
    rb"\\u(?:[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u)[dD][c-fC-F][0-9a-fA-F]{2})"
)
LONE_SURROGATES_MAX = 10_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SYNTAX = msgspec.json.Decoder(msgspec.Raw)
LOCATION = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.([^.\[]+)")


class Decoder(Generic[T]):
    """Decoder for one type. Raises MalformedJson if a body is not JSON in UTF-8, InvalidRequest if it does not fit.

    A repeated member is refused, except within payloads, unless `refuses_repeats` is False.
    """

    def __init__(self, type: type[T], *, refuses_repeats: bool = True) -> None:
        self._decoder = msgspec.json.Decoder(type)
        self._refuses_repeats = refuses_repeats

    def decode(self, body: bytes) -> tuple[T, "Payloads"]:
        """Decoded value, and the reader of its raw payloads."""
        try:
            # The decoder copies a payload without parsing its strings, so its UTF-8 is checked here.
            if not body.isascii():
                body.decode()
            value = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self._invalid(body, error) from None
        except UnicodeDecodeError as error:
            raise MalformedJson(f"The body is not UTF-8: byte {error.start}.") from None
        except RecursionError:
            raise MalformedJson("The body is nested too deeply.") from None
        except msgspec.DecodeError as error:
            return self._decode_with_lone_surrogates(body, error)
        if self._refuses_repeats and has_repeated_member(body, value):
            raise repeated_member(body)
        return value, VERBATIM

    def _decode_with_lone_surrogates(self, body: bytes, error: msgspec.DecodeError) -> tuple[T, "Payloads"]:
        """Decode again, with each escaped lone surrogate replaced by a mark.

        JSON allows "\\ud800" alone (RFC 8259, section 8.2) and a payload keeps it, but the decoder refuses it. The mark
        begins with a control character: anywhere but in a payload, the checks of the domain refuse it as such.
        """
        token = secrets.token_hex(8)
        mark = b"\\u0001" + token.encode()
        marked = with_lone_surrogates_marked(body, mark)
        if marked is body:
            raise malformed(body, error) from None
        try:
            value = self._decoder.decode(marked)
        except msgspec.ValidationError as invalid:
            raise invalid_request(str(invalid), self._decoder.type, mark=f"\x01{token}") from None
        except (msgspec.DecodeError, RecursionError):
            raise MalformedJson(sentence(str(error))) from None
        if self._refuses_repeats and has_repeated_member(marked, value):
            raise repeated_member(marked)
        return value, Payloads(mark)

    def _invalid(self, body: bytes, error: msgspec.ValidationError) -> FactwireError:
        """Error for a body of which a part does not fit: the rest of it may not even be JSON."""
        try:
            SYNTAX.decode(with_lone_surrogates_marked(body, b"\\u0001"))
        except (msgspec.DecodeError, RecursionError) as wrong:
            return malformed(body, wrong)
        return invalid_request(str(error), self._decoder.type, body=body)


class Payloads:
    """Reader of raw payloads, which returns their bytes as they were sent."""

    def __init__(self, mark: bytes | None) -> None:
        self._mark = mark

    def verbatim(self, raw: msgspec.Raw) -> bytes:
        payload = bytes(raw)
        return payload if self._mark is None else payload.replace(self._mark, b"\\u")


VERBATIM = Payloads(None)


def with_lone_surrogates_marked(body: bytes, mark: bytes) -> bytes:
    """Body with a mark in place of the "\\u" of each lone surrogate; the same object if it has no lone surrogate."""
    if SURROGATE.search(body) is None or NUL in body:
        return body
    neutral = body.replace(ESCAPED_BACKSLASH, NEUTRAL)  # from here on, everything that looks like an escape is one
    surrogates = [found[0] for found in islice(LONE_SURROGATE.finditer(neutral), LONE_SURROGATES_MAX + 1)]
    if not surrogates:
        return body
    if len(surrogates) > LONE_SURROGATES_MAX:
        raise MalformedJson(f"The body has more than {LONE_SURROGATES_MAX} lone surrogates.")
    # `sub` would call a function for each surrogate.
    first, *others = LONE_SURROGATE.split(neutral)
    marked = [mark + surrogate[2:] + other for surrogate, other in zip(surrogates, others, strict=True)]
    return b"".join([first, *marked]).replace(NEUTRAL, ESCAPED_BACKSLASH)


def malformed(body: bytes, error: Exception) -> MalformedJson:
    if body.startswith(BYTE_ORDER_MARK):
        return MalformedJson("The body begins with a byte order mark (U+FEFF). Send UTF-8 without it.")
    if not body.strip():
        return MalformedJson("The body is empty.")
    return MalformedJson(
        "The body is nested too deeply." if isinstance(error, RecursionError) else sentence(str(error))
    )


def invalid_request(
    message: str, body_type: Any, *, mark: str | None = None, body: bytes | None = None
) -> InvalidRequest:
    """Error with a decoder's message in plain words, and its location as a JSON pointer into the body that was sent.

    The pointer leads to the member itself if it exists, and to the object if a member is missing, or if its name cannot
    be sent back: it is too long, or has a lone surrogate, which appears as `mark` in the message. The decoder does not
    name a key of meta: it is searched for in the `body`, if that is given and not large.
    """
    location = LOCATION.search(message)
    path: list[str] = []
    for index, name in STEP.findall(location[1] if location else ""):
        if index == "...":
            wrong = None if body is None else wrong_key(body, path)
            path += [] if wrong is None else [escape_pointer(wrong)]
            break
        path.append(index or name)
    text = message[: location.start()] if location else message
    detail = plain_message(text, body_type, path)
    unknown = UNKNOWN_FIELD.fullmatch(text)
    if unknown is not None and len(unknown[1]) > NAME_SHOWN_MAX:
        detail = f"unknown member {unknown[1][:NAME_SHOWN_MAX]}…"
    elif unknown is not None and (mark is None or mark not in unknown[1]):
        path.append(escape_pointer(unknown[1]))
    if mark is not None:
        detail = detail.replace(mark, "\\u")
    return InvalidRequest([FieldError(detail, pointer="".join([f"/{step}" for step in path]))])


def wrong_key(body: bytes, path: Sequence[str]) -> str | None:
    """First key of the meta at a path of a body with a value that is neither a text nor a list of texts."""
    if len(body) > SEARCHED_BYTES_MAX:
        return None
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None  # a lone surrogate elsewhere
    try:
        for step in path:
            found = found[int(step) if isinstance(found, list) else step]
        wrong = [key for key, value in found.items() if not is_meta_value(value)]
    except (LookupError, TypeError, AttributeError):
        return None  # a repeated member: the error is in the first of them, and this is the last
    return next((key for key in wrong if len(key) <= NAME_SHOWN_MAX), None)


def is_meta_value(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
