"""The cookie of a session: its name and attributes by where the browser sees the page, and whose requests count."""

from typing import Any

import pytest
from starlette.requests import Request

from factwire.api.http.session_cookie import cookie_name, is_same_origin, session_of, set_cookie


def request(method: str = "GET", *, scheme: str = "http", **headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "method": method, "scheme": scheme, "path": "/", "headers": named}
    return Request(scope | {"query_string": b"", "server": ("127.0.0.1", 8000)})


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "localhost:8000", "[::1]:8000"])
def test_only_a_loopback_address_without_tls_has_a_cookie_that_is_not_secure(host: str) -> None:
    assert (
        set_cookie(request(host=host), "x", seconds=8.5) == "factwire=x; Path=/; Max-Age=9; HttpOnly; SameSite=Strict"
    )
    assert cookie_name(request(scheme="https", host=host)) == "__Host-factwire"
    assert cookie_name(request(host=host, x_forwarded_proto="https")) == "__Host-factwire"


@pytest.mark.parametrize("host", ["facts.example", "10.0.0.1:8000", "localhost.evil.example", "", "["])
def test_any_other_has_one_that_no_other_host_can_set_and_that_is_never_sent_in_the_clear(host: str) -> None:
    told = set_cookie(request(host=host), "x", seconds=9)
    assert told == "__Host-factwire=x; Path=/; Max-Age=9; HttpOnly; SameSite=Strict; Secure"


def test_a_cookie_of_the_other_name_is_not_looked_at() -> None:
    assert session_of(request(host="facts.example", cookie="factwire=planted")) is None
    assert session_of(request(host="facts.example", cookie="factwire=planted; __Host-factwire=own")) == "own"


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://facts.example"}, False),
        ({"origin": "https://facts.example"}, True),
        ({"origin": "https://facts.example:8443"}, False),
        ({"origin": "https://other.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_what_changes_something_must_come_from_a_page_of_the_same_origin(headers: dict[str, str], own: bool) -> None:
    for method in ("POST", "DELETE"):
        assert is_same_origin(request(method, host="facts.example", **headers)) is own
    assert is_same_origin(request("GET", host="facts.example", **headers))
