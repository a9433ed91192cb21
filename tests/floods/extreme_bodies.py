"""The largest and the most laborious that a request may legally carry."""

import json
import zlib
from typing import Any
from urllib.parse import quote

import zstandard

MIB = 1024 * 1024
BODY_BYTES = 4 * MIB - 1024
PAYLOAD_BYTES = MIB - 64
NAMESPACE = "extremes"
NUMBER = "@@@@@@@@"  # is replaced, so that no two are equal
GZIP = zlib.MAX_WBITS | 16

ITEMS, VALUES = 25, 100  # with four parts, as many values as a query may have with the largest setting
AGGREGATE_IDS = [f"a{n:02}" for n in range(32)]
META_VALUES = [f"{n:02}" for n in range(63)]  # 95 tags with them


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def numbered(template: bytes, number: int) -> bytes:
    return template.replace(NUMBER.encode(), b"%08d" % number)


def new_fact(type: str = "T", **members: Any) -> dict[str, Any]:
    return {"namespace": NAMESPACE, "type": type, "payload": None} | members


def publication(*facts: dict[str, Any], **members: Any) -> bytes:
    return compact({"facts": facts, **members})


def escapes(head: bytes, first: bytes, tail: bytes, *, size: int = BODY_BYTES) -> bytes:
    """A body of so many bytes, of which nearly all are escapes."""
    return head + first + rb"\n" * ((size - len(head) - len(first) - len(tail)) // 2) + tail


def searches_of_escapes() -> list[bytes]:
    """One has a lone surrogate, the other an unknown member."""
    return [escapes(b'{"items":[{"types":["', rb"\ud800", b'"]}]}'), escapes(b'{"items":[],"x":"', b"", b'"}')]


def publications_of_escapes() -> list[bytes]:
    """Three payloads that are stored, one of them with a lone surrogate; and one that is too long, with another."""
    payloads = [escapes(b'"', first, b'"', size=PAYLOAD_BYTES) for first in (rb"\ud800", b"", b"")]
    facts = [b'{"namespace":"%b","type":"T","payload":%b}' % (NAMESPACE.encode(), payload) for payload in payloads]
    head = b'{"facts":[{"namespace":"%b","type":"T","payload":"' % NAMESPACE.encode()
    return [b'{"facts":[%b]}' % b",".join(facts), escapes(head, rb"\ud800", b'"}]}')]


def bombs() -> list[tuple[str, bytes]]:
    """Bodies of imports that are thousands of times as long as they are sent, with their coding.

    Lines that are blank, lines that are skipped, and one that does not end.
    """
    skipped = compact(new_fact(redacted=True)) + b"\n"
    found = []
    for text in (b"\n", skipped, b"x"):
        plain = text * (16 * MIB // len(text))
        gzip = zlib.compressobj(9, wbits=GZIP)
        member, frame = gzip.compress(plain) + gzip.flush(), zstandard.compress(plain, 3)
        found += [("gzip", member * (MIB // len(member))), ("zstd", frame * (MIB // len(frame)))]
    return found


def many_postings() -> bytes:
    """1 000 facts with 9 tags each: 10 000 postings, all of them new."""
    return publication(
        *[
            new_fact(
                aggregate_ids=[f"{NUMBER}-{n}-{k}" for k in range(3)],
                meta={"k": [f"{NUMBER}-{n}-{k}" for k in range(6)]},
            )
            for n in range(1000)
        ]
    )


def large_payloads() -> bytes:
    """Three facts of 1 MiB each, with payloads that do not compress to nothing."""
    payload = "".join([f"{n * 2654435761 % 2**32:08x}" for n in range(PAYLOAD_BYTES // 8)])
    return publication(*[new_fact(payload=payload) for _ in range(3)])


def many_tags(count: int = 100, type: str = "E") -> bytes:
    """So many facts with 95 tags each, which are always the same."""
    fact = new_fact(type, aggregate_ids=AGGREGATE_IDS, meta={"k": META_VALUES})
    return publication(*[fact] * count)


def query_for_all_but_one_tag() -> bytes:
    """Items each of which has all tags of `many_tags` and one more."""
    meta = [{"k": META_VALUES, "z": [f"{NUMBER}-{n}"]} for n in range(ITEMS)]
    return compact({"items": [{"aggregate_ids": AGGREGATE_IDS, "meta": each} for each in meta]})


def path_for_all_but_one_tag(after: str) -> str:
    """The same as a URL of 18 KB."""
    return f"/v1/stream?after={after}&query={quote(query_for_all_but_one_tag().decode(), safe='[]{}:,@')}"


def text(*parts: object, length: int) -> str:
    return "-".join(map(str, (NUMBER, *parts))).ljust(length, "x")


def largest_items() -> list[dict[str, Any]]:
    """Items of nearly 3 MB."""
    return [
        {
            "namespaces": [text(item, value, "n", length=200) for value in range(VALUES)],
            "types": [text(item, value, "t", length=200) for value in range(VALUES)],
            "aggregate_ids": [text(item, value, "a", length=244) for value in range(VALUES)],
            "meta": {"k": [text(item, value, "m", length=244) for value in range(VALUES)]},
        }
        for item in range(ITEMS)
    ]


def largest_query() -> bytes:
    return compact({"items": largest_items()})


def largest_condition() -> bytes:
    return publication(new_fact("Q"), condition={"fail_if_match": largest_items()})


def many_kinds(first: int, count: int) -> bytes:
    """Facts that are each of a kind of their own, in 50 namespaces."""
    return publication(*[new_fact(f"Kind{n}", namespace=f"ns{n % 50}") for n in range(first, first + count)])


def condition_on_many_kinds() -> bytes:
    """Items each of 50 namespaces that there are, 50 that are not, and 100 types that are not."""
    items = [
        {
            "namespaces": [f"ns{n}" for n in range(50)] + [f"no{item}-{n}" for n in range(50)],
            "types": [f"{NUMBER}-{item}-{n}" for n in range(VALUES)],
        }
        for item in range(ITEMS)
    ]
    return publication(new_fact("Q"), condition={"fail_if_match": items})


def queries_at_one_aggregate(items: int) -> bytes:
    """A query whose items all look at one aggregate id, and differ in what else they ask for."""
    return compact({"items": [{"aggregate_ids": ["hot"], "types": [f"{NUMBER}-{n}"]} for n in range(items)]})


def facts_of_one_aggregate() -> bytes:
    return publication(*[new_fact(aggregate_ids=["hot"]) for _ in range(100)])


def facts_of_8_kb() -> bytes:
    return publication(*[new_fact(payload="x" * 8000) for _ in range(100)])


def header_lines() -> bytes:
    """As many as a request may have, and as large: the blank line that ends them is missing."""
    lines = [b"x-%02d: %b\r\n" % (n, b"y" * 312) for n in range(98)]
    return b"GET /v1/position HTTP/1.1\r\nhost: localhost\r\n" + b"".join(lines)
