"""Facts: what is published, checked and brought into the one form in which it is stored, compared and sent."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from json.encoder import encode_basestring as quote
from uuid import UUID

from app.domain.errors import FieldError, InvalidRequest, LimitExceeded
from app.domain.limits import NAME_LENGTH_MAX, TEXT_LENGTH_MAX, VERSION_MAX, Limits

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", re.ASCII)
META_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
RESERVED_NAMESPACE = "factwire"


@dataclass(frozen=True, slots=True)
class NewFact:
    """A fact as given, in its normal form.

    `tags` are what queries match on, `digest` is what makes two publications of one id equal (P5), and `document`
    is the JSON of the fact from `"id"` on, to which the store adds position and time.
    """

    id: UUID
    namespace: str
    type: str
    version: int
    tags: tuple[str, ...]
    digest: bytes
    document: bytes


def new_fact(
    *,
    id: UUID,
    namespace: str,
    type: str,
    version: int,
    aggregate_ids: list[str],
    meta: Mapping[str, str | list[str]],
    payload: bytes,
    limits: Limits,
) -> NewFact:
    """Check a fact and bring it into its normal form: sets sorted and without repeats, the payload on one line.

    `payload` is valid JSON. Raises InvalidRequest or LimitExceeded with a pointer relative to the fact.
    """
    check_namespace(namespace)
    check_name(type, "/type")
    if not 1 <= version <= VERSION_MAX:
        raise refused("/version", f"expected a number from 1 to {VERSION_MAX}")
    check_maximum(len(payload), "payload_bytes_max", limits.payload_bytes_max, "/payload", "bytes")
    check_maximum(len(aggregate_ids), "aggregate_ids_max", limits.aggregate_ids_max, "/aggregate_ids", "values")
    for index, aggregate_id in enumerate(aggregate_ids):
        check_text(aggregate_id, f"/aggregate_ids/{index}")
    ids = sorted(set(aggregate_ids)) if len(aggregate_ids) > 1 else aggregate_ids
    pairs = normal_meta(meta, limits)

    # A raw line break can only stand between tokens (in a string it is an escape), and would end an SSE line.
    if b"\n" in payload or b"\r" in payload:
        payload = payload.translate(LINE_BREAKS)
    tags = (*map(aggregate_tag, ids), *(meta_tag(key, value) for key, values in pairs for value in values))
    head = (
        f'"namespace":"{namespace}","type":"{type}","version":{version},'
        f'"aggregate_ids":[{",".join(map(quote, ids))}],"meta":{{{",".join(map(meta_json, pairs))}}},"payload":'
    ).encode()
    digest = sha256(head)
    digest.update(payload)
    return NewFact(
        id, namespace, type, version, tags, digest.digest(), b'"id":"%b",%b%b}' % (str(id).encode(), head, payload)
    )


def aggregate_tag(aggregate_id: str) -> str:
    """Each kind of tag has a prefix of its own, so that none can imitate another."""
    return f"a:{aggregate_id}"


def meta_tag(key: str, value: str) -> str:
    return f"m:{key}:{value}"


def kind_tag(namespace: str, type: str) -> str:
    return f"t:{namespace}/{type}"


def normal_meta(meta: Mapping[str, str | list[str]], limits: Limits) -> list[tuple[str, list[str]]]:
    check_maximum(len(meta), "meta_keys_max", limits.meta_keys_max, "/meta", "keys")
    pairs = []
    for key, given in sorted(meta.items()):
        pointer = f"/meta/{escaped(key)}"
        if not (META_KEY.fullmatch(key) and len(key) <= NAME_LENGTH_MAX):
            raise refused(pointer, f"a meta key is a name without ':', of at most {NAME_LENGTH_MAX} characters")
        values = [given] if isinstance(given, str) else sorted(set(given))
        if not values:
            raise refused(pointer, "expected at least one value")
        for value in values:
            check_text(value, pointer)
        pairs.append((key, values))
    total = sum(len(values) for _, values in pairs)
    check_maximum(total, "meta_values_max", limits.meta_values_max, "/meta", "values")
    return pairs


def meta_json(pair: tuple[str, list[str]]) -> str:
    key, values = pair
    return f'"{key}":{quote(values[0]) if len(values) == 1 else "[" + ",".join(map(quote, values)) + "]"}'


def check_namespace(namespace: str) -> None:
    check_name(namespace, "/namespace")
    if namespace == RESERVED_NAMESPACE:
        raise refused("/namespace", f"the namespace {RESERVED_NAMESPACE} is reserved")


def check_name(name: str, pointer: str) -> None:
    if not (NAME.fullmatch(name) and len(name) <= NAME_LENGTH_MAX):
        raise refused(pointer, f"expected a name: letters, digits and _.:- , at most {NAME_LENGTH_MAX} characters")


def check_text(text: str, pointer: str) -> None:
    if len(text) > TEXT_LENGTH_MAX:
        raise refused(pointer, f"expected at most {TEXT_LENGTH_MAX} characters")
    if CONTROL.search(text):
        raise refused(pointer, "control characters and lone surrogates are not allowed")


def check_maximum(actual: int, limit: str, maximum: int, pointer: str, unit: str) -> None:
    if actual > maximum:
        field = FieldError(f"{actual} {unit} are more than the {maximum} of {limit}", pointer=pointer)
        raise LimitExceeded(limit, maximum, field=field)


def refused(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest([FieldError(detail, pointer=pointer)])


def escaped(key: str) -> str:
    """A key as a JSON pointer's token (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def repeated(ids: Iterable[UUID]) -> UUID | None:
    """The first id that occurs twice."""
    seen: set[UUID] = set()
    for id in ids:
        if id in seen:
            return id
        seen.add(id)
    return None
