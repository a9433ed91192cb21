"""The spelling of JSON values: what a parser throws away and a value-exact store keeps."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def members(text: bytes) -> dict[str, bytes]:
    """The members of an object, each value as it is spelled."""
    spelled: dict[str, bytes] = {}
    for part in _parts(text):
        name = _TOKEN.match(part)
        assert name is not None, part
        spelled[json.loads(name.group())] = part[name.end() :].lstrip()[1:].strip()
    return spelled


def elements(text: bytes) -> list[bytes]:
    """The elements of an array, each as it is spelled."""
    return _parts(text)


def _parts(text: bytes) -> list[bytes]:
    parts: list[bytes] = []
    depth, start = 0, 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in (b"{", b"["):
            depth += 1
            start = token.end() if depth == 1 else start
        elif mark in (b"}", b"]"):
            depth -= 1
        if (depth, mark) == (1, b",") or depth == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [part for part in parts if part]
