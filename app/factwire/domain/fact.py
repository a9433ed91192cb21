"""Facts: validation, and the normal form in which a fact is stored, compared and sent."""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

import msgspec

from factwire.domain.errors import FieldError, InvalidRequest, LimitExceeded
from factwire.domain.limits import EVENT_TEXT_LENGTH_MAX, NAME_LENGTH_MAX, TEXT_LENGTH_MAX, VERSION_MAX, Limits

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", re.ASCII)
META_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
NOT_IN_TYPES = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
BYTE_ORDER_MARK = "\ufeff"  # a blank in the patterns of JSON Schema (ECMA-262), though not in Python
LINE_FEED, CARRIAGE_RETURN = b"\n\r"  # as integers they are found several times as fast
PAYLOAD_MARK = b'},"payload":'  # unique: in the texts before the payload its quotes would be escaped
LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
RESERVED_NAMESPACE = "factwire"
NAMES_REMEMBERED = 1024

# Each kind of tag has its own prefix, so that no tag can imitate one of another kind.
AGGREGATE = "a:"
META = "m:"
TYPE = "t:"
NAMESPACE = "n:"
FAMILY = "f:"
EVENT = "ce-"  # begins the keys of meta under which attributes of CloudEvents are kept
HASHED = "\x01"
IN = "\x1d"  # separates a tag from its namespace; neither can contain it


class Document(msgspec.Struct):
    """JSON of a fact, in the order in which it is stored and sent."""

    id: str
    namespace: str
    type: str
    version: int
    aggregate_ids: list[str]
    meta: Mapping[str, str | list[str]]
    payload: msgspec.Raw


class SubjectDocument(msgspec.Struct):
    """JSON of a fact about a data subject, in the order in which it is stored and sent."""

    id: str
    namespace: str
    type: str
    version: int
    data_subject: str
    aggregate_ids: list[str]
    meta: Mapping[str, str | list[str]]
    payload: msgspec.Raw


JSON = msgspec.json.Encoder()
CONTENT_AT = len('"id":"00000000-0000-0000-0000-000000000000",')


class NewFact(msgspec.Struct, frozen=True, gc=False):
    """A fact as published, in its normal form. It cannot be part of a reference cycle, so it skips garbage collection.

    `tags` are the values that queries match on, `digest` decides if two publications of one id are equal (P5), and
    `document` is the JSON of the fact from `"id"` on, to which the store adds position and time. `chosen_id` is True if
    the publisher chose the id: only then may a fact with it be stored already. If a fact is about a data subject, the
    payload is removed from the document before it is stored, and `seal` contains it, encrypted with the data key
    `key_id`. If that key is stored with the fact, `new_key` is the wrapped key and the name of the master key that
    unwraps it.
    """

    id: str
    namespace: str
    type: str
    version: int
    tags: tuple[str, ...]
    digest: bytes
    document: bytes
    chosen_id: bool
    data_subject: str = ""
    key_id: str = ""
    seal: bytes = b""
    new_key: tuple[bytes, str] | tuple[()] = ()


def new_fact(
    *,
    id: str,
    namespace: str,
    type: str,
    version: int,
    aggregate_ids: list[str],
    meta: Mapping[str, str | list[str]],
    payload: bytes,
    limits: Limits,
    chosen_id: bool = True,
    data_subject: str | None = None,
) -> NewFact:
    """Check a fact and bring it into its normal form: sets sorted and without duplicates, the payload on one line.

    `id` is a UUID in its canonical spelling, `payload` is valid JSON. Raises InvalidRequest or LimitExceeded with a
    pointer relative to the fact.
    """
    if len(namespace) > NAME_LENGTH_MAX or len(type) > NAME_LENGTH_MAX or not is_kind(namespace, type):
        check_namespace(namespace)
        check_type(type)
    if not 1 <= version <= VERSION_MAX:
        raise invalid_field("/version", f"expected a number from 1 to {VERSION_MAX}")
    if len(payload) > limits.payload_bytes_max:
        check_maximum(len(payload), "payload_bytes_max", limits.payload_bytes_max, "/payload", "bytes")
    ids = normal_aggregate_ids(aggregate_ids, limits) if aggregate_ids else aggregate_ids
    pairs = normal_meta(meta, limits) if meta else meta

    # A raw line break can only occur between tokens (in a string it is escaped), and would end an SSE line.
    if LINE_FEED in payload or CARRIAGE_RETURN in payload:
        payload = payload.translate(LINE_BREAKS)
    return build_fact(id, namespace, type, version, ids, pairs, payload, chosen_id, data_subject)


def build_fact(
    id: str,
    namespace: str,
    type: str,
    version: int,
    ids: list[str],
    pairs: Mapping[str, str | list[str]],
    payload: bytes,
    chosen_id: bool,
    data_subject: str | None = None,
) -> NewFact:
    """Build a fact from parts that are in their normal form."""
    whole: Document | SubjectDocument
    if data_subject is None:
        whole = Document(id, namespace, type, version, ids, pairs, msgspec.Raw(payload))
    else:
        check_name(data_subject, "/data_subject")
        whole = SubjectDocument(id, namespace, type, version, data_subject, ids, pairs, msgspec.Raw(payload))
    document = JSON.encode(whole)[1:]
    digest = sha256(document[CONTENT_AT:-1]).digest()
    tags = fact_tags(ids, pairs)
    if data_subject is None:
        return NewFact(id, namespace, type, version, tags, digest, document, chosen_id)
    return NewFact(id, namespace, type, version, tags, digest, document, chosen_id, data_subject)


def split_document(document: bytes) -> tuple[bytes, bytes]:
    """Split a document into the part up to its payload, and the payload."""
    at = document.index(PAYLOAD_MARK) + len(PAYLOAD_MARK)
    return document[:at], document[at:-1]


def fact_tags(aggregate_ids: Iterable[str], meta: Mapping[str, str | list[str]]) -> tuple[str, ...]:
    """Tags that queries match on, of a fact in its normal form."""
    tags = [f"{AGGREGATE}{aggregate_id}" for aggregate_id in aggregate_ids]
    for key, values in meta.items():
        if isinstance(values, str):
            tags.append(meta_tag(key, values))
        else:
            tags += [meta_tag(key, value) for value in values]
    return tuple(tags)


def aggregate_tag(aggregate_id: str) -> str:
    return f"{AGGREGATE}{aggregate_id}"


def meta_tag(key: str, value: str) -> str:
    """Tag of a pair. Of a long value it has a hash, since an index holds no such texts; no value begins like it."""
    if len(value) > TEXT_LENGTH_MAX:
        return f"{META}{key}:{HASHED}{sha256(value.encode()).hexdigest()}"
    return f"{META}{key}:{value}"


def value_length_max(key: str) -> int:
    """Maximum length of a value of meta: attributes of CloudEvents may be longer than others."""
    return EVENT_TEXT_LENGTH_MAX if key.startswith(EVENT) else TEXT_LENGTH_MAX


def posting_lists(namespace: str, type: str, tags: Iterable[str]) -> list[str]:
    """Posting lists of the inverted index that contain a fact: see docs/finding.md.

    One for each tag in its namespace, and those of its kind. Each namespace has its own lists of tags, so that facts of
    other namespaces about the same thing do not make them longer.
    """
    return [*[f"{tag}{IN}{namespace}" for tag in tags], *kind_lists(namespace, type)]


@lru_cache(NAMES_REMEMBERED)
def kind_lists(namespace: str, type: str) -> tuple[str, ...]:
    """Posting lists by type in a namespace, by type, by namespace, and by the first part of a dotted namespace."""
    lists = (f"{TYPE}{type}{IN}{namespace}", f"{TYPE}{type}", f"{NAMESPACE}{namespace}")
    family, dot, _ = namespace.partition(".")
    return (*lists, f"{FAMILY}{family}") if dot else lists


def normal_aggregate_ids(aggregate_ids: list[str], limits: Limits) -> list[str]:
    if len(aggregate_ids) > limits.aggregate_ids_max:
        check_maximum(len(aggregate_ids), "aggregate_ids_max", limits.aggregate_ids_max, "/aggregate_ids", "values")
    if not are_plain("".join(aggregate_ids)):
        for index, aggregate_id in enumerate(aggregate_ids):
            check_text(aggregate_id, f"/aggregate_ids/{index}")
    return sorted(set(aggregate_ids)) if len(aggregate_ids) > 1 else aggregate_ids


def normal_meta(meta: Mapping[str, str | list[str]], limits: Limits) -> dict[str, str | list[str]]:
    """The pairs, sorted by key. Several values of a key are a sorted list; a single value is a text."""
    if len(meta) > limits.meta_keys_max:
        check_maximum(len(meta), "meta_keys_max", limits.meta_keys_max, "/meta", "keys")
    pairs: dict[str, str | list[str]] = {}
    total = 0
    for key in sorted(meta) if len(meta) > 1 else meta:
        given = meta[key]
        total += 1 if isinstance(given, str) else len(given)
        if total > limits.meta_values_max:
            break  # before they are sorted and compared
        pairs[key] = normal_values(key, given)
    if total > limits.meta_values_max:
        check_maximum(total, "meta_values_max", limits.meta_values_max, "/meta", "values")
    return pairs


def normal_values(key: str, given: str | list[str]) -> str | list[str]:
    if not (len(key) <= NAME_LENGTH_MAX and matches(META_KEY, key)):
        detail = f"a meta key is a name without ':', of at most {NAME_LENGTH_MAX} characters"
        raise invalid_field("/meta" if CONTROL.search(key) else f"/meta/{escape_pointer(key)}", detail)
    if isinstance(given, str):
        if not are_plain(given):
            check_text(given, f"/meta/{escape_pointer(key)}", length_max=value_length_max(key))
        return given
    values = sorted(set(given))
    if not values:
        raise invalid_field(f"/meta/{escape_pointer(key)}", "expected at least one value")
    for value in values:
        check_text(value, f"/meta/{escape_pointer(key)}", length_max=value_length_max(key))
    return values[0] if len(values) == 1 else values


@lru_cache(NAMES_REMEMBERED)
def is_kind(namespace: str, type: str) -> bool:
    """True if both may be published under. Kinds recur, and the cache saves repeated checks."""
    return NAME.fullmatch(namespace) is not None and namespace != RESERVED_NAMESPACE and is_type(type)


def check_namespace(namespace: str) -> None:
    check_name(namespace, "/namespace")
    if namespace == RESERVED_NAMESPACE:
        raise invalid_field("/namespace", f"the namespace {RESERVED_NAMESPACE} is reserved")


def is_type(text: str) -> bool:
    """True if a text may be a type. It is kept as it is, without normalization: names of classes are types too."""
    if not 0 < len(text) <= NAME_LENGTH_MAX or NOT_IN_TYPES.search(text) is not None:
        return False
    return text.strip() == text and BYTE_ORDER_MARK not in (text[0], text[-1])


def check_type(type: str) -> None:
    if not is_type(type):
        detail = (
            f"expected a text of 1 to {NAME_LENGTH_MAX} characters, without blanks at its ends, control characters, "
            "line separators and lone surrogates"
        )
        raise invalid_field("/type", detail)


def is_name(text: str) -> bool:
    return len(text) <= NAME_LENGTH_MAX and NAME.fullmatch(text) is not None


def check_name(name: str, pointer: str) -> None:
    if not is_name(name):
        raise invalid_field(
            pointer, f"expected a name: letters, digits and _.:- , at most {NAME_LENGTH_MAX} characters"
        )


@lru_cache(NAMES_REMEMBERED)
def matches(pattern: re.Pattern[str], short: str) -> bool:
    return pattern.fullmatch(short) is not None


def are_plain(texts: str) -> bool:
    """True if texts, joined, are certainly all allowed. Most texts are, and this check needs no search."""
    return len(texts) <= TEXT_LENGTH_MAX and texts.isascii() and texts.isprintable()


def check_text(text: str, pointer: str, *, length_max: int = TEXT_LENGTH_MAX) -> None:
    if len(text) > length_max:
        raise invalid_field(pointer, f"expected at most {length_max} characters")
    if CONTROL.search(text):
        raise invalid_field(pointer, "control characters and lone surrogates are not allowed")


def check_texts(texts: Collection[str], pointer: str, *, length_max: int = TEXT_LENGTH_MAX) -> None:
    """Check several texts; one test is enough if all of them are printable.

    Control characters and surrogates are not printable.
    """
    if max(map(len, texts), default=0) > length_max or not "".join(texts).isprintable():
        for text in texts:
            check_text(text, pointer, length_max=length_max)


def check_maximum(actual: int, limit: str, maximum: int, pointer: str, unit: str) -> None:
    if actual > maximum:
        field = FieldError(f"{actual} {unit} are more than the {maximum} of {limit}", pointer=pointer)
        raise LimitExceeded(limit, maximum, field=field)


def invalid_field(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest([FieldError(detail, pointer=pointer)])


def escape_pointer(key: str) -> str:
    """A key as a token of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def find_repeated(ids: Iterable[str]) -> str | None:
    """The first id that occurs twice."""
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            return id
        seen.add(id)
    return None


def utc(time: datetime) -> str:
    """A time in the format of every response: RFC 3339, UTC, microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
