"""Decoding JSON bodies into the structs of the wire, with errors that point at what is wrong."""

import re
import secrets
from typing import Generic, TypeVar

import msgspec

from app.domain.errors import FactwireError, FieldError, InvalidRequest, MalformedJson

T = TypeVar("T")

ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
SYNTAX = msgspec.json.Decoder(msgspec.Raw)
LOCATION = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(.*?)`")
STEP = re.compile(r"\[(\d+)\]|\.([^.\[]+)")


class Decoder(Generic[T]):
    """Decodes one type. Raises MalformedJson for what is not JSON in UTF-8, InvalidRequest for what does not fit."""

    def __init__(self, type: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(type)

    def decode(self, body: bytes) -> tuple[T, "Payloads"]:
        """The value, and how its raw payloads are to be read."""
        try:
            # A payload is taken over without being looked into, so that its UTF-8 is checked here.
            if not body.isascii():
                body.decode()
            return self._decoder.decode(body), VERBATIM
        except msgspec.ValidationError as error:
            raise self._invalid(body, error) from None
        except UnicodeDecodeError as error:
            raise MalformedJson(f"The body is not UTF-8: byte {error.start}.") from None
        except RecursionError:
            raise MalformedJson("The body is nested too deeply.") from None
        except msgspec.DecodeError as error:
            return self._decode_with_lone_surrogates(body, error)

    def _decode_with_lone_surrogates(self, body: bytes, error: msgspec.DecodeError) -> tuple[T, "Payloads"]:
        """Decode once more with each escaped lone surrogate replaced by a mark.

        JSON allows "\\ud800" alone (RFC 8259, section 8.2) and a payload keeps it, but the decoder refuses it. The mark
        begins with a control character: anywhere but in a payload, the checks of the domain refuse it as such.
        """
        mark = b"\\u0001" + secrets.token_hex(16).encode()
        marked = with_lone_surrogates_marked(body, mark)
        if marked == body:
            raise MalformedJson(sentence(str(error))) from None
        try:
            return self._decoder.decode(marked), Payloads(mark)
        except msgspec.ValidationError as invalid:
            raise invalid_request(str(invalid)) from None
        except (msgspec.DecodeError, RecursionError):
            raise MalformedJson(sentence(str(error))) from None

    def _invalid(self, body: bytes, error: msgspec.ValidationError) -> FactwireError:
        """What is wrong with a body of which a part does not fit: the rest of it may not even be JSON."""
        try:
            SYNTAX.decode(with_lone_surrogates_marked(body, b"\\u0001"))
        except (msgspec.DecodeError, RecursionError) as malformed:
            return MalformedJson(sentence(str(malformed)))
        return invalid_request(str(error))


class Payloads:
    """Gives the bytes of a raw payload as they were sent."""

    def __init__(self, mark: bytes | None) -> None:
        self._mark = mark

    def verbatim(self, raw: msgspec.Raw) -> bytes:
        payload = bytes(raw)
        return payload if self._mark is None else payload.replace(self._mark, b"\\u")


VERBATIM = Payloads(None)


def with_lone_surrogates_marked(body: bytes, mark: bytes) -> bytes:
    return ESCAPE.sub(lambda escape: mark + escape[1] if escape[1] else escape[0], body)


def invalid_request(message: str) -> InvalidRequest:
    """A decoder's message with its location as a JSON pointer."""
    location = LOCATION.search(message)
    path = location[1] if location else ""
    pointer = "".join(f"/{index or name}" for index, name in STEP.findall(path) if (index or name) != "..")
    text = message[: location.start()] if location else message
    field = FIELD.search(text)
    if field is not None:
        pointer += f"/{field[1]}"
    return InvalidRequest([FieldError(sentence(text), pointer=pointer)])


def sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
