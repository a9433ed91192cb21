"""Facts: what is published, checked and brought into the one form in which it is stored, compared and sent."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as quote
from typing import NamedTuple
from uuid import UUID

from app.domain.errors import FieldError, InvalidRequest, LimitExceeded
from app.domain.limits import NAME_LENGTH_MAX, TEXT_LENGTH_MAX, VERSION_MAX, Limits

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", re.ASCII)
META_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
RESERVED_NAMESPACE = "factwire"
NAMES_REMEMBERED = 1024


class NewFact(NamedTuple):
    """A fact as given, in its normal form.

    `tags` are what queries match on, `digest` is what makes two publications of one id equal (P5), and `document`
    is the JSON of the fact from `"id"` on, to which the store adds position and time. `chosen_id` says that the
    publisher chose the id: only then may a fact with it be stored already.
    """

    id: UUID
    namespace: str
    type: str
    version: int
    tags: tuple[str, ...]
    digest: bytes
    document: bytes
    chosen_id: bool


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
    chosen_id: bool = True,
) -> NewFact:
    """Check a fact and bring it into its normal form: sets sorted and without repeats, the payload on one line.

    `payload` is valid JSON. Raises InvalidRequest or LimitExceeded with a pointer relative to the fact.
    """
    check_namespace(namespace)
    check_name(type, "/type")
    if not 1 <= version <= VERSION_MAX:
        raise refused("/version", f"expected a number from 1 to {VERSION_MAX}")
    check_maximum(len(payload), "payload_bytes_max", limits.payload_bytes_max, "/payload", "bytes")
    ids = normal_aggregate_ids(aggregate_ids, limits) if aggregate_ids else aggregate_ids
    pairs = normal_meta(meta, limits) if meta else []

    # A raw line break can only stand between tokens (in a string it is an escape), and would end an SSE line.
    if b"\n" in payload or b"\r" in payload:
        payload = payload.translate(LINE_BREAKS)
    content = (
        f'"namespace":"{namespace}","type":"{type}","version":{version},'
        f'"aggregate_ids":[{",".join(map(quote, ids))}],"meta":{{{",".join(map(meta_json, pairs))}}},"payload":'
    ).encode() + payload
    return NewFact(
        id,
        namespace,
        type,
        version,
        fact_tags(ids, pairs),
        sha256(content).digest(),
        b'"id":"%b",%b}' % (str(id).encode(), content),
        chosen_id,
    )


def fact_tags(aggregate_ids: Iterable[str], meta: Iterable[tuple[str, str | list[str]]]) -> tuple[str, ...]:
    """What queries match on, of a fact in its normal form."""
    tags = [aggregate_tag(aggregate_id) for aggregate_id in aggregate_ids]
    for key, values in meta:
        if isinstance(values, str):
            tags.append(meta_tag(key, values))
        else:
            tags += [meta_tag(key, value) for value in values]
    return tuple(tags)


def aggregate_tag(aggregate_id: str) -> str:
    """Each kind of tag has a prefix of its own, so that none can imitate another."""
    return f"a:{aggregate_id}"


def meta_tag(key: str, value: str) -> str:
    return f"m:{key}:{value}"


def kind_tag(namespace: str, type: str) -> str:
    return f"t:{namespace}/{type}"


def normal_aggregate_ids(aggregate_ids: list[str], limits: Limits) -> list[str]:
    check_maximum(len(aggregate_ids), "aggregate_ids_max", limits.aggregate_ids_max, "/aggregate_ids", "values")
    for index, aggregate_id in enumerate(aggregate_ids):
        if not is_plain(aggregate_id):
            check_text(aggregate_id, f"/aggregate_ids/{index}")
    return sorted(set(aggregate_ids)) if len(aggregate_ids) > 1 else aggregate_ids


def normal_meta(meta: Mapping[str, str | list[str]], limits: Limits) -> list[tuple[str, list[str]]]:
    check_maximum(len(meta), "meta_keys_max", limits.meta_keys_max, "/meta", "keys")
    pairs = []
    for key, given in sorted(meta.items()):
        if not is_meta_key(key):
            detail = f"a meta key is a name without ':', of at most {NAME_LENGTH_MAX} characters"
            raise refused(f"/meta/{escaped(key)}", detail)
        values = [given] if isinstance(given, str) else sorted(set(given))
        if not values:
            raise refused(f"/meta/{escaped(key)}", "expected at least one value")
        for value in values:
            if not is_plain(value):
                check_text(value, f"/meta/{escaped(key)}")
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
    if not is_name(name):
        raise refused(pointer, f"expected a name: letters, digits and _.:- , at most {NAME_LENGTH_MAX} characters")


def is_name(text: str) -> bool:
    return len(text) <= NAME_LENGTH_MAX and matches(NAME, text)


def is_meta_key(text: str) -> bool:
    return len(text) <= NAME_LENGTH_MAX and matches(META_KEY, text)


@lru_cache(NAMES_REMEMBERED)
def matches(pattern: re.Pattern[str], short: str) -> bool:
    """Names recur from fact to fact, and remembering one is several times as fast as matching it again."""
    return pattern.fullmatch(short) is not None


def is_plain(text: str) -> bool:
    """Whether a text is certainly allowed: what most texts are, told without a search."""
    return len(text) <= TEXT_LENGTH_MAX and text.isascii() and text.isprintable()


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


def utc(time: datetime) -> str:
    """A time as every answer has it: RFC 3339, UTC, microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
