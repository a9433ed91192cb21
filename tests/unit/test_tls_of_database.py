"""Which connections to a database would be warned of."""

import pytest

from factwire.doctor.tls import unverified_hosts


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://app:secret@db.example:5432/log", ("db.example",)),
        ("postgresql://app@one,two:5433/log?target_session_attrs=read-write", ("one", "two")),
        ("postgresql://app@127.0.0.1,10.0.0.5/log?sslmode=prefer", ("10.0.0.5",)),
        ("postgresql://app@db/log?sslmode=require", ("db",)),
        ("postgresql://app@db/log?sslmode=verify-ca", ("db",)),
        ("postgresql:///log?host=db.example", ("db.example",)),
        ("postgresql://app@[2001:db8::1]:5432/log", ("2001:db8::1",)),
        ("postgresql://app@db/log?sslmode=verify-full&sslrootcert=/ca.pem", ()),
        ("postgresql://app@localhost/log", ()),
        ("postgresql://app@127.0.0.1:5432/log", ()),
        ("postgresql://app@[::1]:5432/log", ()),
        ("postgresql:///log?host=/run/postgresql", ()),
        ("postgresql://postgres@/postgres?host=%2Ftmp%2Fx&port=5433", ()),
        ("postgresql:///log", ()),
    ],
)
def test_hosts_elsewhere_are_named_unless_their_certificate_is_verified(url: str, hosts: tuple[str, ...]) -> None:
    assert unverified_hosts(url) == hosts
