"""The content coding that a client accepts (RFC 9110, section 12.5.3)."""

import pytest
from starlette.requests import Request

from factwire.api.http.compression import chosen_coding


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1, zstd;q=0.5", "gzip"),
        ("gzip;q=0.5, zstd; q=0.9", "zstd"),
        ("gzip, zstd;q=0", "gzip"),
        ("gzip;q=0, zstd;q=0", None),
        ("*", "zstd"),
        ("*;q=0", None),
        ("*, zstd;q=0", "gzip"),
        ("gzip;q=x", None),
        ("gzip;q=nan", None),
        ("gzip;q=inf, zstd", "zstd"),
        ("gzip;q=", None),
        ("gzip;q=1.0;foo=bar", "gzip"),
        ("gzip; foo=bar;q=0.5, zstd;q=0.4", "gzip"),
        ("gzip; foo=bar;q=0.5, zstd;q=0.6", "zstd"),
        ("gzip; foo=bar", "gzip"),
        ("gzip ; Q = 0.5 , zstd;q=0.4", "gzip"),
        ("gzip;q=0.5x, zstd;q=0.4", "zstd"),
    ],
)
def test_the_best_coding_that_the_client_accepts_is_chosen(accepted: str | None, coding: str | None) -> None:
    headers = [] if accepted is None else [(b"accept-encoding", accepted.encode())]
    assert chosen_coding(Request({"type": "http", "headers": headers})) == coding
