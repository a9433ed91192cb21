"""Whose address a request has: what proxies say counts only where they are trusted, and only as far as they are."""

from ipaddress import ip_network

import pytest
from starlette.types import Scope

from factwire.limits.client_address import Proxies, source_of

PROXY, OTHER_PROXY, CLIENT, FORGED = "10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.9"
NETWORK = ip_network("10.0.0.0/24")


def request(peer: str | None, **headers: str) -> Scope:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": (peer, 1234) if peer else None, "headers": named}


def test_without_trusted_proxies_only_the_peer_counts() -> None:
    assert Proxies(()).address_of(request(PROXY, x_forwarded_for=FORGED, forwarded=f"for={FORGED}")) == PROXY


def test_a_peer_that_is_no_trusted_proxy_is_not_believed() -> None:
    assert Proxies([NETWORK]).address_of(request(CLIENT, x_forwarded_for=FORGED)) == CLIENT


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (CLIENT, CLIENT),
        (f"{FORGED}, {CLIENT}", CLIENT),
        (f"{FORGED}, {CLIENT}, {OTHER_PROXY}", CLIENT),
        (f"{FORGED},{CLIENT} ,{OTHER_PROXY}", CLIENT),
        (f"{CLIENT}:5678", CLIENT),
        ("[2001:db8::1]:5678", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        (OTHER_PROXY, OTHER_PROXY),
        (f"{FORGED}, unknown, {OTHER_PROXY}", OTHER_PROXY),
        (f"{FORGED}, nonsense", PROXY),
        ("", PROXY),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_trusted_proxy(said: str, address: str) -> None:
    assert Proxies([NETWORK]).address_of(request(PROXY, x_forwarded_for=said)) == address


def test_several_lines_of_the_header_are_one_list() -> None:
    scope = request(PROXY)
    scope["headers"] += [(b"x-forwarded-for", FORGED.encode()), (b"x-forwarded-for", CLIENT.encode())]
    assert Proxies([NETWORK]).address_of(scope) == CLIENT


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (f"for={FORGED}, for={CLIENT};proto=https", CLIENT),
        (f'by=x;For="{CLIENT}:99"', CLIENT),
        ('for="[2001:db8::1]:99"', "2001:db8::1"),
        (f"for={FORGED}, for=_hidden", PROXY),
        (f"for={FORGED}, proto=https", PROXY),
    ],
)
def test_forwarded_counts_where_it_is_chosen(said: str, address: str) -> None:
    proxies = Proxies([NETWORK], header="forwarded")
    assert proxies.address_of(request(PROXY, forwarded=said, x_forwarded_for=FORGED)) == address


def test_the_header_that_was_not_chosen_counts_for_nothing() -> None:
    assert Proxies([NETWORK]).address_of(request(PROXY, forwarded=f"for={FORGED}")) == PROXY


def test_a_proxy_that_comes_over_ipv6_by_its_ipv4_address_is_trusted() -> None:
    assert Proxies([NETWORK]).address_of(request(f"::ffff:{PROXY}", x_forwarded_for=CLIENT)) == CLIENT


def test_a_request_without_a_peer_has_no_address() -> None:
    assert Proxies([NETWORK]).address_of(request(None, x_forwarded_for=CLIENT)) == ""


def test_whoever_has_one_ipv6_address_has_its_network() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:2") == "2001:db8::/64"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("::ffff:203.0.113.7") == source_of("203.0.113.7") == "203.0.113.7"
