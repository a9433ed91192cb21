"""The suite's own parser: it refuses what some client or proxy would misread."""

from __future__ import annotations

import pytest

from tests.conformance.frames import FrameParser

OPENING = b"retry: 2000\n:ok\n"
FACT = b"data: {}\nid: 1:42\n\n"


@pytest.mark.case("parser-takes-what-the-contract-says")
def test_the_parser_takes_a_stream_in_any_pieces() -> None:
    body = OPENING + FACT + b":\nevent: caught-up\ndata: {}\nid: 1:42\n\n:\n:\n"
    for size in (1, 7, len(body)):
        parser = FrameParser()
        frames = [frame for start in range(0, len(body), size) for frame in parser.feed(body[start : start + size])]
        parser.finish()
        assert [(frame.event, frame.id, frame.data) for frame in frames] == [
            ("", "1:42", b"{}"),
            ("caught-up", "1:42", b"{}"),
        ]
        assert (parser.heartbeats, parser.retry_milliseconds) == (3, 2000)


@pytest.mark.case("parser-refuses-what-breaks-clients")
@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + OPENING,
        b":ok\n",
        b"retry: 2000\n\n",
        b"retry: 2000\n: ok\n",
        b"retry:2000\n:ok\n",
        OPENING + b"\n",
        OPENING + b": ping\n\n",
        OPENING + b":\n\n",
        OPENING + b"id: 1:42\n\n",
        OPENING + b"data: {}\n\n",
        OPENING + b"id: 1:42\ndata: {}\n\n",
        OPENING + b"data: {}\nid: 42\n\n",
        OPENING + b"data:{}\nid: 1:42\n\n",
        OPENING + b"data: \nid: 1:42\n\n",
        OPENING + b"data: {\ndata: }\nid: 1:42\n\n",
        OPENING + b"data: {}\n:\nid: 1:42\n\n",
        OPENING + b"data: {}\nretry: 1\nid: 1:42\n\n",
        OPENING + b"event: message\ndata: {}\nid: 1:42\n\n",
        OPENING + b"event: error\ndata: {}\nid: 1:42\n\n",
        OPENING + b"data: {}\r\nid: 1:42\r\n\r\n",
        OPENING + FACT + b"retry: 1\n\n",
    ],
)
def test_the_parser_refuses_what_the_contract_does_not_allow(body: bytes) -> None:
    with pytest.raises(AssertionError):
        FrameParser().feed(body)


@pytest.mark.case("parser-refuses-a-cut-event")
@pytest.mark.parametrize("cut", [b"data: {}\n", b"data: {}\nid: 1:42\n", b"id", b"data: {}"])
def test_the_parser_refuses_a_stream_that_is_cut_in_an_event(cut: bytes) -> None:
    parser = FrameParser()
    parser.feed(OPENING + FACT + cut)
    with pytest.raises(AssertionError):
        parser.finish()
