"""Binary mode of CloudEvents (HTTP binding 1.0.2, section 3.1): attributes in `ce-` headers, the data as the body."""

import base64
import re
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import Request

from factwire.api.cloudevents_mapping import Event
from factwire.api.http.bodies import media_type_of
from factwire.api.http.json_decoding import Decoder
from factwire.domain.errors import MalformedParameter

PREFIX = "ce-"
MARK = "ce-specversion"
JSON_TYPE = re.compile(r"(?:application|text)/json|[^/]+/[^/]+\+json")
VALUE = Decoder(msgspec.Raw, refuses_repeats=False)


def is_binary(request: Request) -> bool:
    """True if the request has the header that every event in binary mode has, and no media type of another mode.

    A page of another origin cannot send such a header without asking first (CORS), whatever the media type is.
    """
    return MARK in request.headers and not media_type_of(request).startswith("application/cloudevents")


def event_of(request: Request, body: bytes) -> Event:
    """The event in the JSON format. Raises MalformedParameter for a header, and MalformedJson for its data."""
    event: Event = {}
    for name, value in request.headers.items():
        if name.startswith(PREFIX):
            attribute = name.removeprefix(PREFIX)
            if attribute in event:
                raise MalformedParameter(name, "expected one header of this name")
            event[attribute] = raw(decoded(name, value))
    if content_type := request.headers.get("content-type"):
        event["datacontenttype"] = raw(content_type)
    return event | data_of(media_type_of(request), body)


def data_of(media_type: str, body: bytes) -> Event:
    """JSON as it is, other texts as a text, everything else in base64; nothing for an empty body."""
    if not body:
        return {}
    if JSON_TYPE.fullmatch(media_type):
        VALUE.decode(body)
        return {"data": msgspec.Raw(body)}
    if media_type.startswith("text/"):
        try:
            return {"data": raw(body.decode())}
        except UnicodeDecodeError:
            pass
    return {"data_base64": raw(base64.b64encode(body).decode())}


def decoded(name: str, value: str) -> str:
    """Value of a header: percent-encoded UTF-8, perhaps in quotation marks (section 3.1.3.2)."""
    plain = value.strip()
    if len(plain) > 1 and plain.startswith('"') and plain.endswith('"'):
        plain = re.sub(r"\\(.)", r"\1", plain[1:-1])
    try:
        return unquote_to_bytes(plain.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise MalformedParameter(name, "expected percent-encoded UTF-8") from None


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))
