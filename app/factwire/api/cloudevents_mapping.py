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
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec import UNSET, Meta, UnsetType

from factwire.api.http.duplicate_members import has_repeated_member
from factwire.api.http.json_decoding import Decoder, Payloads
from factwire.api.http.query_parameters import parse_time
from factwire.api.http.representation import Representation
from factwire.domain.errors import FieldError, InvalidRequest, LimitExceeded
from factwire.domain.fact import NewFact, check_text, escape_pointer, invalid_field, new_fact
from factwire.domain.limits import Limits
from factwire.domain.position import FACT_ID
from factwire.follow.progress import Facts

SPEC_VERSION = "1.0"
EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

Event = dict[str, msgspec.Raw]
MetaValues = dict[str, str | list[str]]

ATTRIBUTE = re.compile(r"[a-z0-9]+", re.ASCII)
KEPT = "ce-"
DATA = "ce-data"  # not a possible attribute name, so it can record the encoding of the data
BASE64 = "base64"
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
    id: Annotated[str, Meta(description="The id of the fact if it is a UUID; otherwise the UUIDv5 of source and id.")]
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
    attributes = attributes_of(event)
    for name in ("specversion", "id", "source", "type"):
        if not attributes.get(name):
            raise invalid_field(f"/{name}", f"expected the attribute {name}, a text that is not empty")
    if attributes["specversion"] != SPEC_VERSION:
        raise invalid_field("/specversion", f"expected {SPEC_VERSION}")
    if namespace is None and "namespace" not in attributes:
        detail = "expected the extension namespace, since FACTWIRE_CLOUDEVENTS_NAMESPACE is not set"
        raise invalid_field("/namespace", detail)
    payload, encoding = payload_of(event, payloads)
    meta = meta_of(attributes)
    if meta.get(DATA) == BASE64 and payload.startswith(b'"'):
        raise invalid_field("/factmeta", f"{DATA} would make the data of the event binary: give data_base64")
    return new_fact(
        id=fact_id(attributes["id"], attributes["source"]),
        namespace=attributes.get("namespace", namespace or ""),
        type=attributes["type"],
        version=version_of(attributes),
        aggregate_ids=aggregate_ids_of(attributes),
        meta=meta | encoding,
        payload=payload,
        limits=limits,
        data_subject=attributes.get("factsubject"),
    )


def attributes_of(event: Event) -> dict[str, str]:
    """All attributes except the data, as text. Null attributes are left out."""
    attributes = {}
    for name, raw in event.items():
        if name in ("data", "data_base64"):
            continue
        if not ATTRIBUTE.fullmatch(name):
            check_text(name, "")
            raise invalid_field(f"/{escape_pointer(name)}", "an attribute has a name of lower-case letters and digits")
        try:
            value = SCALAR.decode(raw)
        except msgspec.MsgspecError:
            raise invalid_field(f"/{name}", "expected a text, a whole number or a boolean") from None
        if value is not None:
            attributes[name] = value if isinstance(value, str) else str(value).lower()
    for name in ("subject", "factsubject"):
        if attributes.get(name) == "":
            raise invalid_field(f"/{name}", "expected a text that is not empty")
    check_time(attributes.get("time"))
    return attributes


def check_time(text: str | None) -> None:
    if text is not None:
        try:
            parse_time(text)
        except ValueError as error:
            raise invalid_field("/time", str(error)) from None


def payload_of(event: Event, payloads: Payloads) -> tuple[bytes, dict[str, str]]:
    """The payload, and the meta entry that records its encoding."""
    if "data_base64" not in event or event["data_base64"] == msgspec.Raw(b"null"):
        return payloads.verbatim(event.get("data", msgspec.Raw(b"null"))), {}
    if "data" in event:
        raise invalid_field("/data_base64", "expected either data or data_base64")
    try:
        base64.b64decode(msgspec.json.decode(event["data_base64"], type=str), validate=True)
    except (msgspec.MsgspecError, ValueError):
        raise invalid_field("/data_base64", "expected a text in base64") from None
    return payloads.verbatim(event["data_base64"]), {DATA: BASE64}


def fact_id(event_id: str, source: str) -> str:
    """Id of the fact, the same for each repeat of an event. Only source and id together identify an event."""
    for name, text in (("id", event_id), ("source", source)):
        check_text(text, f"/{name}")
    return str(UUID(event_id)) if FACT_ID.fullmatch(event_id) else str(uuid5(uuid5(NAMESPACE_URL, source), event_id))


def version_of(attributes: Mapping[str, str]) -> int:
    text = attributes.get("factversion", "1")
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise invalid_field("/factversion", "expected a whole number")
    return int(text)


def aggregate_ids_of(attributes: Mapping[str, str]) -> list[str]:
    subject = [attributes["subject"]] if "subject" in attributes else []
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
    return name not in PLACED and not is_source_of_facts


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
    is_base64 = fact.meta.get(DATA) == BASE64 and bytes(payload).startswith(b'"')
    kept: dict[str, str] = {}
    meta: MetaValues = {}
    for key, value in fact.meta.items():
        if isinstance(value, str) and is_attribute(key, value):
            kept[key.removeprefix(KEPT)] = value
        elif not (is_base64 and key == DATA):
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
        **extensions_of(fact, meta),
        "data_base64" if is_base64 else "data": payload,
    }
    return EVENT_JSON.encode(event)


def is_attribute(key: str, value: str | list[str]) -> bool:
    """True if this meta entry is a kept attribute of an event, which is exported as it was received."""
    name = key.removeprefix(KEPT)
    is_named = key != name and ATTRIBUTE.fullmatch(name) is not None
    return is_named and isinstance(value, str) and name not in PLACED - {"id"}


def extensions_of(fact: StoredFact, meta: MetaValues) -> dict[str, Any]:
    """Extension attributes for the members of a fact without a counterpart in CloudEvents."""
    return {
        name: value
        for name, value, is_there in (
            ("factaggregateids", text_of(fact.aggregate_ids), len(fact.aggregate_ids) > 1),
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
