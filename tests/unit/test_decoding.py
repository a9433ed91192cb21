"""Decoding: payloads stay as they were sent, lone surrogates included, and errors point at the field."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.decoding import Decoder
from app.domain.errors import InvalidRequest, MalformedJson


class Body(msgspec.Struct, forbid_unknown_fields=True):
    payload: msgspec.Raw
    names: list[str] = []


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
