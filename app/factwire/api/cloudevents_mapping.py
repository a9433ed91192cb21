"""Mapping between facts and CloudEvents (CloudEvents 1.0, JSON event format).

Attributes with a counterpart in a fact are mapped to it: `type`, `subject` (an aggregate id), `data` (the payload). The
other attributes of an event are kept in meta, with the prefix `ce-`, as in the header names of the HTTP binding.
Members of a fact without a counterpart become extensions with the prefix `fact`, which are also accepted as input.
"""

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import UNSET, Meta, UnsetType

from factwire.api.http.duplicate_members import has_repeated_member
from factwire.api.http.json_decoding import Decoder, Payloads
from factwire.api.http.query_parameters import parse_time
from factwire.api.http.representation import Representation
from factwire.domain.errors import FieldError, InvalidRequest, LimitExceeded
from factwire.domain.fact import EVENT as KEPT
from factwire.domain.fact import NewFact, check_text, escape_pointer, invalid_field, new_fact
from factwire.domain.limits import EVENT_TEXT_LENGTH_MAX, TEXT_LENGTH_MAX, Limits
from factwire.domain.position import FACT_ID
from factwire.follow.progress import Facts

SPEC_VERSION = "1.0"
EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

Event = dict[str, msgspec.Raw]
MetaValues = dict[str, str | list[str]]

ATTRIBUTE = re.compile(r"[a-z0-9]+", re.ASCII)
# Not names of attributes, so that they can say what the data was, and which attributes were no texts.
DATA, NOT_TEXT = "ce-data", "ce-not_text"
BASE64, NO_DATA = "base64", "none"
PLACED = frozenset(
    {"specversion", "id", "type", "subject", "data", "data_base64", "namespace"}
    | {"factversion", "factaggregateids", "factmeta", "factsubject", "factposition", "factpublishedat"}
    | {"factredacted", "facterased", "factunreadable"}
)
FIELDS = {
    "payload": "data",
    "version": "factversion",
    "aggregate_ids": "factaggregateids",
    "meta": "factmeta",
    "data_subject": "factsubject",
}


class CloudEvent(msgspec.Struct, kw_only=True):
    """An event in the CloudEvents 1.0 JSON format. Further attributes, with lower-case names, are extensions."""

    specversion: Annotated[str, Meta(examples=[SPEC_VERSION])]
    id: Annotated[
        str, Meta(description="The id of the fact if it is a UUID; otherwise made of source, namespace and id.")
    ]
    source: Annotated[str, Meta(description="The source of the event, a URI reference; kept in meta as `ce-source`.")]
    type: Annotated[str, Meta(description="The type of the fact.")]
    subject: Annotated[str | UnsetType, Meta(description="An aggregate id.")] = UNSET
    time: Annotated[str | UnsetType, Meta(description="When it happened, RFC 3339; kept as `ce-time`.")] = UNSET
    datacontenttype: Annotated[
        str | UnsetType, Meta(description="Media type of the data (default: application/json).")
    ] = UNSET
    dataschema: str | UnsetType = UNSET
    namespace: Annotated[str | UnsetType, Meta(description="An extension: the namespace of the fact.")] = UNSET
    factposition: Annotated[str | UnsetType, Meta(description="Going out: the position of the fact.")] = UNSET
    factpublishedat: Annotated[str | UnsetType, Meta(description="Going out: when it was published.")] = UNSET
    factversion: Annotated[int | UnsetType, Meta(description="The version of the fact.")] = UNSET
    factaggregateids: Annotated[str | UnsetType, Meta(description="Several aggregate ids, a JSON array.")] = UNSET
    factmeta: Annotated[str | UnsetType, Meta(description="Meta of the fact, a JSON object.")] = UNSET
    factsubject: Annotated[str | UnsetType, Meta(description="The data subject of the fact.")] = UNSET
    data: Annotated[Any, Meta(description="The payload: any JSON, which comes back as it was sent.")] = UNSET
    data_base64: Annotated[str | UnsetType, Meta(description="Binary data instead, kept as it was sent.")] = UNSET


class StoredFact(msgspec.Struct):
    """A fact in the JSON form that the store produces."""

    position: int
    published_at: str
    id: str
    namespace: str
    type: str
    version: int
    aggregate_ids: list[str]
    meta: MetaValues
    payload: msgspec.Raw
    data_subject: str | None = None
    redacted: bool = False
    erased: bool = False
    unreadable: bool = False


STORED = Decoder(StoredFact, refuses_repeats=False)
SCALAR = msgspec.json.Decoder(str | int | bool | None)
TEXTS = msgspec.json.Decoder(list[str])
META = msgspec.json.Decoder(MetaValues)
EVENT_JSON = msgspec.json.Encoder()
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")


def fact_from_event(event: Event, payloads: Payloads, limits: Limits, *, namespace: str | None) -> NewFact:
    """The fact of an event. `namespace` applies to events without a namespace.

    Raises InvalidRequest and LimitExceeded with a pointer relative to the event.
    """
    try:
        return checked_fact(event, payloads, limits, namespace)
    except InvalidRequest as error:
        raise InvalidRequest([as_attribute(field, event) for field in error.members["errors"]]) from None
    except LimitExceeded as error:
        field = as_attribute(error.members["errors"][0], event)
        raise LimitExceeded(error.members["limit"], error.members["maximum"], field=field) from None


def checked_fact(event: Event, payloads: Payloads, limits: Limits, namespace: str | None) -> NewFact:
    """The fact of an event. Errors have pointers into the event or into the fact."""
    attributes, not_text = attributes_of(event)
    for name in ("specversion", "id", "source", "type"):
        if not attributes.get(name):
            raise invalid_field(f"/{name}", f"expected the attribute {name}, a text that is not empty")
    if attributes["specversion"] != SPEC_VERSION:
        raise invalid_field("/specversion", f"expected {SPEC_VERSION}")
    if namespace is None and "namespace" not in attributes:
        detail = "expected the extension namespace, since FACTWIRE_CLOUDEVENTS_NAMESPACE is not set"
        raise invalid_field("/namespace", detail)
    payload, data_kind = payload_of(event, payloads)
    meta = meta_of(attributes)
    if "data" not in data_of(meta, payload):
        raise invalid_field("/factmeta", f"{DATA} would change the data of the event: give data_base64, or no data")
    place = attributes.get("namespace", namespace or "")
    kinds = sorted(name for name in not_text if is_reported(name, attributes))
    return new_fact(
        id=fact_id(attributes["id"], attributes["source"], place),
        namespace=place,
        type=attributes["type"],
        version=version_of(attributes),
        aggregate_ids=aggregate_ids_of(attributes),
        meta=meta | data_kind | ({NOT_TEXT: kinds} if kinds else {}),
        payload=payload,
        limits=limits,
        data_subject=attributes.get("factsubject"),
    )


def attributes_of(event: Event) -> tuple[dict[str, str], set[str]]:
    """All attributes except the data, as text, and the names of those that were no texts. Null ones are left out."""
    attributes: dict[str, str] = {}
    not_text: set[str] = set()
    for name, raw in event.items():
        if name in ("data", "data_base64"):
            continue
        value = value_of(name, raw)
        if isinstance(value, str):
            attributes[name] = value
        elif value is not None:
            not_text.add(name)
            attributes[name] = str(value).lower()
    for name in ("subject", "factsubject"):
        if attributes.get(name) == "":
            raise invalid_field(f"/{name}", "expected a text that is not empty")
    check_time(attributes.get("time"))
    return attributes, not_text


def value_of(name: str, raw: msgspec.Raw) -> str | int | bool | None:
    """Value of one attribute. Raises InvalidRequest."""
    if not ATTRIBUTE.fullmatch(name):
        check_text(name, "")
        raise invalid_field(f"/{escape_pointer(name)}", "an attribute has a name of lower-case letters and digits")
    try:
        value: str | int | bool | None = SCALAR.decode(raw)
    except msgspec.MsgspecError:
        raise invalid_field(f"/{name}", "expected a text, a whole number or a boolean") from None
    return value


def check_time(text: str | None) -> None:
    if text is not None:
        try:
            parse_time(text)
        except ValueError as error:
            raise invalid_field("/time", str(error)) from None


def payload_of(event: Event, payloads: Payloads) -> tuple[bytes, dict[str, str]]:
    """The payload, and a meta entry if it is binary or missing."""
    if "data_base64" not in event or event["data_base64"] == msgspec.Raw(b"null"):
        return (payloads.verbatim(event["data"]), {}) if "data" in event else (b"null", {DATA: NO_DATA})
    if "data" in event:
        raise invalid_field("/data_base64", "expected either data or data_base64")
    try:
        base64.b64decode(msgspec.json.decode(event["data_base64"], type=str), validate=True)
    except (msgspec.MsgspecError, ValueError):
        raise invalid_field("/data_base64", "expected a text in base64") from None
    return payloads.verbatim(event["data_base64"]), {DATA: BASE64}


def fact_id(event_id: str, source: str, namespace: str) -> str:
    """Id of the fact, the same for each repeat of an event. Only source and id together identify an event.

    Tenants may share a source; each has the namespace for itself.
    """
    for name, text in (("id", event_id), ("source", source)):
        check_text(text, f"/{name}", length_max=EVENT_TEXT_LENGTH_MAX)
    if FACT_ID.fullmatch(event_id):
        return event_id.lower()
    return str(uuid5(uuid5(uuid5(NAMESPACE_URL, source), namespace), event_id))


def version_of(attributes: Mapping[str, str]) -> int:
    text = attributes.get("factversion", "1")
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise invalid_field("/factversion", "expected a whole number")
    return int(text)


def aggregate_ids_of(attributes: Mapping[str, str]) -> list[str]:
    subject = [attributes["subject"]] if "subject" in attributes and not is_long_subject(attributes["subject"]) else []
    if "factaggregateids" not in attributes:
        return subject
    try:
        return subject + TEXTS.decode(attributes["factaggregateids"])
    except msgspec.MsgspecError:
        raise invalid_field("/factaggregateids", "expected a JSON array of texts") from None


def meta_of(attributes: Mapping[str, str]) -> MetaValues:
    given = attributes.get("factmeta", "{}")
    try:
        meta = META.decode(given)
    except msgspec.MsgspecError:
        raise invalid_field("/factmeta", "expected a JSON object of texts, or of arrays of texts") from None
    if has_repeated_member(given.encode(), meta):
        raise invalid_field("/factmeta", "the object has a member twice")
    for key, value in meta.items():
        if key == NOT_TEXT:
            raise invalid_field("/factmeta", f"{key} says which attributes are no texts: give them as they are")
        if is_attribute(key, value):
            raise invalid_field("/factmeta", f"{key} would go out as an attribute of the event: give it as one")
    id_is_kept = attributes["id"] != attributes["id"].lower() or not FACT_ID.fullmatch(attributes["id"])
    kept = {f"{KEPT}{name}": value for name, value in attributes.items() if is_reported(name, attributes)}
    return meta | kept | ({f"{KEPT}id": attributes["id"]} if id_is_kept else {})


def is_reported(name: str, attributes: Mapping[str, str]) -> bool:
    """True if an attribute is kept in meta. The default source, which the export gives to facts without one, is not.

    The time is kept: in another log, nothing else records the time at which the fact was published here.
    """
    is_source_of_facts = name == "source" and attributes[name] == f"/v1/namespaces/{attributes.get('namespace', '')}"
    if name == "subject":
        return is_long_subject(attributes[name])
    return name not in PLACED and not is_source_of_facts


def is_long_subject(subject: str) -> bool:
    """True if a subject is too long for an aggregate id, as the key of an object may be: it is kept in meta."""
    return len(subject) > TEXT_LENGTH_MAX


def as_attribute(field: FieldError, event: Event) -> FieldError:
    """An error in a fact, reported for the event: at the attribute, or at the event if the attribute is missing."""
    _, name, *below = [*(field.pointer or "").split("/"), ""]
    if name == "aggregate_ids" and below[0] == "0" and "subject" in event:
        name = "subject"
    elif name == "meta" and below[0].startswith(KEPT):
        name = below[0].removeprefix(KEPT)
    elif name == "payload" and "data_base64" in event:
        name = "data_base64"
    else:
        name = FIELDS.get(name, name)
    is_there = name.replace("~1", "/").replace("~0", "~") in event
    return FieldError(field.detail, pointer=f"/{name}" if is_there else "")


def event_from_fact(line: bytes) -> bytes:
    """Convert the JSON of a fact to an event."""
    fact, payloads = STORED.decode(line)
    payload = msgspec.Raw(payloads.verbatim(fact.payload))
    data = data_of(fact.meta, payload)
    kinds = fact.meta.get(NOT_TEXT, [])
    not_text = {kinds} if isinstance(kinds, str) else set(kinds)
    kept: dict[str, Any] = {}
    meta: MetaValues = {}
    for key, value in fact.meta.items():
        if isinstance(value, str) and is_attribute(key, value):
            name = key.removeprefix(KEPT)
            kept[name] = as_sent(value) if name in not_text else value
        elif key != NOT_TEXT and (key != DATA or "data" in data):
            meta[key] = value
    event: dict[str, Any] = {
        "specversion": SPEC_VERSION,
        "id": kept.pop("id", fact.id),
        "source": kept.pop("source", f"/v1/namespaces/{fact.namespace}"),
        "type": fact.type,
        "time": kept.pop("time", fact.published_at),
        **({"subject": fact.aggregate_ids[0]} if len(fact.aggregate_ids) == 1 else {}),
        **kept,
        "namespace": fact.namespace,
        "factposition": str(fact.position),
        "factpublishedat": fact.published_at,
        "factversion": fact.version,
        **extensions_of(fact, meta, has_subject="subject" in kept),
        **data,
    }
    return EVENT_JSON.encode(event)


def data_of(meta: MetaValues, payload: bytes | msgspec.Raw) -> dict[str, Any]:
    """The data as it was sent: JSON, a text in base64, or none."""
    kind = meta.get(DATA)
    if kind == BASE64 and bytes(payload).startswith(b'"'):
        return {"data_base64": payload}
    return {} if kind == NO_DATA and bytes(payload) == b"null" else {"data": payload}


def as_sent(text: str) -> str | int | bool:
    """The value of an attribute that was no text."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if INTEGER.fullmatch(text) else text


def is_attribute(key: str, value: str | list[str]) -> bool:
    """True if this meta entry is a kept attribute of an event, which is exported as it was received."""
    name = key.removeprefix(KEPT)
    if key == name or ATTRIBUTE.fullmatch(name) is None or not isinstance(value, str):
        return False
    return is_long_subject(value) if name == "subject" else name not in PLACED - {"id"}


def extensions_of(fact: StoredFact, meta: MetaValues, *, has_subject: bool) -> dict[str, Any]:
    """Extension attributes for the members of a fact without a counterpart in CloudEvents."""
    return {
        name: value
        for name, value, is_there in (
            ("factaggregateids", text_of(fact.aggregate_ids), len(fact.aggregate_ids) > (0 if has_subject else 1)),
            ("factmeta", text_of(meta), bool(meta)),
            ("factsubject", fact.data_subject, fact.data_subject is not None),
            ("factredacted", True, fact.redacted),
            ("facterased", True, fact.erased),
            ("factunreadable", True, fact.unreadable),
        )
        if is_there
    }


def text_of(value: object) -> str:
    return msgspec.json.encode(value).decode()


@lru_cache(8)
def events_from(facts: Facts) -> Facts:
    """Facts of a stream as CloudEvents. Streams that are served one after the other get the same object."""
    return Facts(lines_as_events(facts.body, prefix=b"data: "), facts.count, facts.cursor)


def lines_as_events(lines: bytes, *, prefix: bytes = b"") -> bytes:
    """The same lines, with each fact after the prefix converted to an event."""
    start = prefix + b"{"
    return b"\n".join(
        [
            prefix + event_from_fact(line[len(prefix) :]) if line.startswith(start) else line
            for line in lines.split(b"\n")
        ]
    )


CLOUDEVENTS = Representation(convert_lines=lines_as_events, convert_events=events_from)
