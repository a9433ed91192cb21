"""Decoding: payloads stay as they were sent, members stand once outside of them, and errors point at the field."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factwire.api.cloudevents import ONE, SEVERAL
from factwire.api.erasure import REDACTION
from factwire.api.http.decoding_hints import type_info
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.query_body import QUERY
from factwire.api.import_facts import LINE
from factwire.api.keys import KEY, ROTATION
from factwire.api.publish import PUBLISH
from factwire.domain.errors import FactwireError, InvalidRequest, MalformedJson


class Body(msgspec.Struct, forbid_unknown_fields=True):
    payload: msgspec.Raw
    names: list[str] | msgspec.UnsetType = msgspec.UNSET


BODY = Decoder(Body)
PIECES = [rb"\ud800", rb"\udfff", rb"\ud83d\ude00", rb"\uD83D", rb"\\ud800", rb"\\\ud800", rb"\u0001", b"x", rb"\""]


def payload_of(body: bytes) -> bytes:
    decoded, payloads = BODY.decode(body)
    return payloads.verbatim(decoded.payload)


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_a_string_of_any_escapes_comes_back_byte_by_byte(pieces: list[bytes]) -> None:
    payload = b'{"a":"' + b"".join(pieces) + b'"}'
    assert payload_of(b'{"payload":' + payload + b"}") == payload


@pytest.mark.parametrize("payload", [b"1e400", b"1.10", b"9" * 40, b'{"a":1,"a":2}', '"\u00e4\u2028"'.encode()])
def test_a_payload_comes_back_as_it_was_spelt(payload: bytes) -> None:
    assert payload_of(b'{"payload":' + payload + b"}") == payload


def test_a_lone_surrogate_elsewhere_is_left_to_the_checks_of_the_domain() -> None:
    body, _ = BODY.decode(rb'{"payload":1,"names":["\ud800"]}')
    assert body.names
    assert body.names[0].startswith("\x01")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"payload":}', b'{"payload":1}x', b'{"payload":"\xff"}', b'{"payload":"\xed\xa0\x80"}'],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        BODY.decode(body)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{}", ""),
        (b'{"payload":1,"a/b":2}', "/a~1b"),
        (b'{"payload":1,"other":2}', "/other"),
        (b'{"payload":1,"names":1}', "/names"),
        (b'{"payload":1,"names":["a",2]}', "/names/1"),
        (rb'{"payload":"\ud800","names":["a",2]}', "/names/1"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_pointer(body: bytes, pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        BODY.decode(body)
    assert refused.value.members["errors"][0].pointer == pointer


FACT = '"namespace":"shop","type":"OrderPlaced","payload":1'
EVENT = '"specversion":"1.0","id":"1","source":"/s","type":"T"'
# Where a member may stand, and one that may stand there.
PLACES: dict[str, tuple[Decoder[Any], str, str]] = {
    "body": (PUBLISH, "{@}", '"facts":[{<fact>}]'),
    "body, behind": (PUBLISH, '{"facts":[{<fact>}],@}', '"condition":null'),
    "fact": (PUBLISH, '{"facts":[{"type":"T","payload":1,@}]}', '"namespace":"shop"'),
    "fact, payload": (PUBLISH, '{"facts":[{"namespace":"shop","type":"T",@}]}', r'"payload":"\\\""'),
    "fact, id": (PUBLISH, '{"facts":[{<fact>,@}]}', '"id":null'),
    "fact, version": (PUBLISH, '{"facts":[{<fact>,@}]}', '"version":1'),
    "fact, aggregate ids": (PUBLISH, '{"facts":[{<fact>,@}]}', r'"aggregate_ids":["a\"","\\"]'),
    "fact, data subject": (PUBLISH, '{"facts":[{<fact>,@}]}', '"data_subject":"a"'),
    "second fact": (PUBLISH, '{"facts":[{<fact>},{<fact>,@}]}', '"meta":{}'),
    "meta": (PUBLISH, '{"facts":[{<fact>,"meta":{@}}]}', r'"tenant":["a","\u0022"]'),
    "condition": (PUBLISH, '{"facts":[{<fact>}],"condition":{"fail_if_match":[{}],@}}', '"after":"1:42"'),
    "condition, number": (PUBLISH, '{"facts":[{<fact>}],"condition":{"fail_if_match":[{}],@}}', '"after":42'),
    "item of a condition": (PUBLISH, '{"facts":[{<fact>}],"condition":{"fail_if_match":[{@}]}}', '"types":["a"]'),
    "query": (QUERY, "{@}", '"items":[]'),
    "item": (QUERY, '{"items":[{},{@}]}', '"namespaces":[]'),
    "meta of an item": (QUERY, '{"items":[{"meta":{@}}]}', '"k":"v"'),
    "line": (LINE, "{<fact>,@}", '"published_at":"2026-11-29T00:00:00Z"'),
    "line, position": (LINE, "{<fact>,@}", '"position":42'),
    "line, redacted": (LINE, "{<fact>,@}", '"redacted":true'),
    "meta of a line": (LINE, '{<fact>,"meta":{@}}', '"k":"v"'),
    "event": (ONE, "{<event>,@}", '"subject":"a"'),
    "event, data": (ONE, "{<event>,@}", '"data":{"a":1,"a":2}'),
    "event of a batch": (SEVERAL, "[{<event>},{<event>,@}]", '"time":null'),
    "key": (KEY, '{"name":"n",@}', '"grants":{"read":{"include":["*"]}}'),
    "key, end": (KEY, '{"name":"n","grants":{},@}', '"expires_at":null'),
    "grants": (KEY, '{"name":"n","grants":{@}}', '"read":{"include":["*"],"exclude":[]}'),
    "namespaces of grants": (KEY, '{"name":"n","grants":{"read":{"include":["a"],@}}}', '"exclude":["b"]'),
    "rotation": (ROTATION, "{@}", '"grace_seconds":1.5'),
    "redaction": (REDACTION, "{@}", '"reason":"by mistake"'),
}


def escaped_name(member: str) -> str:
    """A member whose name is spelt with escapes only."""
    _, name, value = member.split('"', 2)
    return '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"' + value


def spaced(member: str) -> str:
    """A member with white space around its name and its colon."""
    _, name, value = member.split('"', 2)
    return f'\n\t "{name}" \r\n:\t {value[1:]} '


def filled(template: str) -> str:
    return template.replace("<fact>", FACT).replace("<event>", EVENT)


SPELLINGS: dict[str, Callable[[str], str]] = {"alike": str, "escaped": escaped_name, "spaced": spaced}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_member_that_stands_twice_is_refused_however_it_is_spelt(place: str, spelling: str) -> None:
    decoder, template, member = (PLACES[place][0], *(filled(text) for text in PLACES[place][1:]))
    respelt = SPELLINGS[spelling](member)
    for body in (template.replace("@", member), template.replace("@", respelt)):
        decoder.decode(body.encode())
    for twice in (f"{member},{respelt}", f"{respelt},{member}"):
        with pytest.raises(InvalidRequest):
            decoder.decode(template.replace("@", twice).encode())


@pytest.mark.parametrize(
    "payload",
    ['{"a":1,"a":2}', '[{"b":{"a":"x","a":[{"c":1,"c":1}]}}]', r'{"\"":1,"\u0022":"\\"}', r'{"a":"\ud800","a":"\\\""}'],
)
def test_repeated_members_of_payloads_are_kept(payload: str) -> None:
    facts, payloads = PUBLISH.decode(
        f'{{"facts":[{{"namespace":"shop","type":"T","payload":{payload},"meta":{{"k":"v"}}}}]}}'.encode()
    )
    assert payloads.verbatim(facts.facts[0].payload) == payload.encode()
    line, payloads = LINE.decode(f'{{"namespace":"shop","payload":{payload},"type":"T"}}'.encode())
    assert payloads.verbatim(line.payload) == payload.encode()
    event, payloads = ONE.decode(filled(f'{{<event>,"data":{payload}}}').encode())
    assert payloads.verbatim(event["data"]) == payload.encode()


def test_a_member_that_stands_twice_beside_the_deepest_or_longest_payload_is_refused_as_such() -> None:
    deep = [b"[" * depth + b"]" * depth for depth in range(900, 1010)]
    for payload in (*deep, b"9" * 5000):
        body = b'{"facts":[{"namespace":"a","type":"A","payload":%b,"version":1,"version":2}]}' % payload
        with pytest.raises((InvalidRequest, MalformedJson)):
            PUBLISH.decode(body)


@dataclass(frozen=True)
class Spelt:
    """A valid body, its payloads, and the same body with one of its members outside of them standing twice."""

    body: bytes
    payloads: list[bytes]
    with_a_repeat: bytes


class Members(list[tuple[str, Any]]):
    """An object as its members, of which one may stand twice."""


@dataclass(frozen=True)
class Writer:
    ascii_only: bool
    escapes_names: bool
    gap: str

    def write(self, value: Any) -> str:
        if isinstance(value, Members):
            members = [f"{self.gap}{self.name(name)}{self.gap}:{self.gap}{self.write(each)}" for name, each in value]
            return "{" + ",".join(members) + self.gap + "}"
        if isinstance(value, list):
            return "[" + ",".join(f"{self.gap}{self.write(each)}" for each in value) + self.gap + "]"
        return json.dumps(value, ensure_ascii=self.ascii_only)

    def name(self, name: str) -> str:
        if self.escapes_names and name.isascii():
            return '"' + "".join(f"\\u{ord(letter):04X}" for letter in name) + '"'
        return json.dumps(name, ensure_ascii=self.ascii_only)


ODD = st.sampled_from(['"', "\\", "/", "\n", "\0", "u", "\u2028", "é", "🦊", '\\"', "\\u0022"])
TEXTS = st.lists(ODD | st.characters(codec="utf-8"), max_size=6).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(TEXTS, inner), max_size=3).map(Members),
    max_leaves=8,
)


def members_of(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Members]:
    """Objects with any of these members, in any order; those that are always there end with `_`."""
    optional = {name: each for name, each in members.items() if not name.endswith("_")}
    needed = {name.removesuffix("_"): each for name, each in members.items() if name.endswith("_")}
    given = st.fixed_dictionaries(needed, optional=optional)
    return given.flatmap(lambda all: st.permutations(list(all.items()))).map(Members)


META = st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=3), max_size=3).map(lambda all: Members(all.items()))
ITEM = members_of(
    namespaces=st.lists(TEXTS, max_size=2), types=st.lists(TEXTS, max_size=2), aggregate_ids=st.lists(TEXTS), meta=META
)
NEW_FACT = members_of(
    namespace_=TEXTS,
    type_=TEXTS,
    payload_=JSON,
    id=st.none() | TEXTS,
    version=st.integers(1, 9),
    aggregate_ids=st.lists(TEXTS, max_size=3),
    meta=META,
    data_subject=st.none() | TEXTS,
)
CONDITION = members_of(fail_if_match_=st.lists(ITEM, max_size=3), after=st.integers(0, 99) | TEXTS)
PUBLICATION = members_of(facts_=st.lists(NEW_FACT, min_size=1, max_size=3), condition=st.none() | CONDITION)


def objects_in(value: Any) -> list[Members]:
    """The objects outside of payloads that have members."""
    nested = [each for name, each in value if name != "payload"] if isinstance(value, Members) else value
    inner = [found for each in nested for found in objects_in(each)] if isinstance(value, list) else []
    return [value, *inner] if isinstance(value, Members) and value else inner


@st.composite
def spelt(draw: st.DrawFn) -> Spelt:
    body = draw(PUBLICATION)
    writer = Writer(draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from(["", " ", "\r\n\t"])))
    once = writer.write(body)
    facts = [dict(fact) for fact in dict(body)["facts"]]
    payloads = [writer.write(fact["payload"]).encode() for fact in facts]
    chosen = draw(st.sampled_from(objects_in(body)))
    chosen.insert(draw(st.integers(0, len(chosen))), draw(st.sampled_from(list(chosen))))
    return Spelt(once.encode(), payloads, writer.write(body).encode())


@given(spelt())
def test_valid_bodies_are_taken_and_refused_once_any_member_stands_twice(given: Spelt) -> None:
    decoded, payloads = PUBLISH.decode(given.body)
    assert [payloads.verbatim(fact.payload) for fact in decoded.facts] == given.payloads
    with pytest.raises(InvalidRequest, match="twice"):
        PUBLISH.decode(given.with_a_repeat)


LONE = [rf"\u{number:04{case}}" for number in range(0xD800, 0xE000, 73) for case in "xX"]


@given(st.lists(st.lists(st.sampled_from([*LONE, *(piece.decode() for piece in PIECES)]), max_size=6), max_size=5))
def test_each_of_several_payloads_gets_its_own_surrogates_back(texts: list[list[str]]) -> None:
    payloads = [f'["{"".join(pieces)}",{{"{"".join(pieces)}":1}}]' for pieces in texts]
    facts = [f'{{"namespace":"a","type":"A","payload":{payload}}}' for payload in payloads]
    decoded, raw = PUBLISH.decode(f'{{"facts":[{",".join(facts)}]}}'.encode())
    in_order = [raw.verbatim(fact.payload) for fact in decoded.facts]
    again = [raw.verbatim(fact.payload) for fact in reversed(decoded.facts)]
    assert in_order == again[::-1] == [payload.encode() for payload in payloads]


def test_a_surrogate_elsewhere_does_not_stand_in_for_one_of_a_payload() -> None:
    line, raw = LINE.decode(rb'{"published_at":"\ud800","namespace":"a","type":"A","payload":"\udfff"}')
    assert raw.verbatim(line.payload) == rb'"\udfff"'


@pytest.mark.parametrize("payload", [b'"\\ud800\0\0"', b'"\\ud800\0"', b'["\\ud800",\0\0]'])
def test_bytes_that_no_json_has_are_malformed_beside_a_lone_surrogate_too(payload: bytes) -> None:
    with pytest.raises(MalformedJson):
        payload_of(b'{"payload":' + payload + b"}")


CALLS_MAX = 1000
BODY_BYTES = 4 << 20
FILLERS = {"escapes": rb"\n", "pairs": rb"\ud83d\ude00", "backslashes": rb"\\\\", "quotes": rb"\""}


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("wrong", [b"", b',"unknown":1', b',"version":1,"version":1', b',"version":"1"', b"}"])
@pytest.mark.parametrize("surrogate", [b"", rb"\ud800"], ids=["", "surrogate"])
def test_no_function_is_called_for_each_escape_of_a_body(filler: str, wrong: bytes, surrogate: bytes) -> None:
    """Calls are counted, not seconds: one for each escape holds up the process for a second."""
    piece = FILLERS[filler]
    payload = b'"%b%b"' % (surrogate, piece * (BODY_BYTES // len(piece)))
    body = b'{"facts":[{"namespace":"a","type":"A","payload":%b%b}]}' % (payload, wrong)
    assert calls_to_decode(body) < CALLS_MAX


def calls_to_decode(body: bytes) -> int:
    type_info(PUBLISH._decoder.type)  # looked through once in a process, for the hints
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        PUBLISH.decode(body)
    except FactwireError:
        pass
    finally:
        sys.setprofile(before)
    return calls
