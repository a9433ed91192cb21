"""Under which hosts a service may be asked for."""

import pytest

from factwire.api.middleware.allowed_hosts import AllowedHosts

HOSTS = AllowedHosts(("service.internal", "*.example.com"))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8000", "LOCALHOST:80", "explorer.localhost:8000", "localhost."),
        *("127.0.0.1:8000", "[::1]:8000", "[::1]", "10.1.2.3", "[2001:db8::1]:8443"),
        *("service.internal", "Service.Internal:8000", "one.example.com", "two.one.example.com:1"),
    ],
)
def test_addresses_loopback_names_and_named_hosts_are_answered(host: str) -> None:
    assert host.encode() in HOSTS
    assert host.encode() in HOSTS


@pytest.mark.parametrize(
    "host",
    [
        *("", ":8000", "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "evillocalhost", "example.com"),
        *(
            "example.com.evil.test",
            "xexample.com",
            "service.internal.evil.test",
            "*.example.com",
            "[evil.test]",
            "1.2.3",
        ),
        *("0x7f.1", "2130706433", "localhost@evil.test", "evil.test#localhost", "\xe9.example.org"),
    ],
)
def test_every_other_host_is_foreign(host: str) -> None:
    assert host.encode("latin-1") not in HOSTS
