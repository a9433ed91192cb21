"""URLs of PostgreSQL as those who host it hand them out."""

from pathlib import Path

import pytest

from factwire.postgres_url import REFUSED, left_out_of, system_authorities, target_of

HANDED_OUT = {
    "postgresql://u:p@ep-a.aws.neon.tech/db?sslmode=require&channel_binding=require": (
        "postgresql://u:p@ep-a.aws.neon.tech/db?sslmode=require"
    ),
    "postgresql://u:p@h/db?connect_timeout=10&keepalives_idle=30&application_name=shop": (
        "postgresql://u:p@h/db?application_name=shop"
    ),
    "postgresql://u:p%40@one:5432,two:5433/db?target_session_attrs=read-write&load_balance_hosts=random": (
        "postgresql://u:p%40@one:5432,two:5433/db?target_session_attrs=read-write"
    ),
    "postgresql:///db?host=%2Frun%2Fpost%20gres": "postgresql:///db?host=%2Frun%2Fpost+gres",
    "postgresql://u@h/db": "postgresql://u@h/db",
}


@pytest.mark.parametrize("url", HANDED_OUT)
def test_a_url_that_was_handed_out_works_as_it_is(url: str) -> None:
    assert target_of(url) == (HANDED_OUT[url], False)


def test_what_is_left_out_is_known_by_name() -> None:
    assert left_out_of("postgresql://h/db?sslmode=require&channel_binding=require&connect_timeout=1") == [
        "channel_binding",
        "connect_timeout",
    ]
    assert left_out_of("postgresql://h/db") == []


@pytest.mark.parametrize("option", sorted(REFUSED))
def test_what_would_be_less_safe_or_is_of_another_client_is_refused_by_name(option: str) -> None:
    with pytest.raises(ValueError, match=option) as refused:
        target_of(f"postgresql://u:TOP@h/db?{option}=GIVEN")
    assert "TOP" not in str(refused.value)
    assert "GIVEN" not in str(refused.value)


@pytest.mark.parametrize(("value", "pooled"), [("true", True), ("1", True), ("false", False), ("TRUE", True)])
def test_a_url_says_whether_transactions_are_pooled(value: str, pooled: bool) -> None:
    assert target_of(f"postgresql://u@h/db?pgbouncer={value}") == ("postgresql://u@h/db", pooled)


def test_a_pooler_is_there_or_not() -> None:
    with pytest.raises(ValueError, match="pgbouncer is true or false"):
        target_of("postgresql://u@h/db?pgbouncer=maybe")


def test_the_authorities_of_the_system_are_verified_whole() -> None:
    url = target_of("postgresql://u@h/db?sslrootcert=system").url
    assert "sslmode=verify-full" in url
    assert Path(system_authorities()).is_file()
    with pytest.raises(ValueError, match="verify-full"):
        target_of("postgresql://u@h/db?sslrootcert=system&sslmode=require")


@pytest.mark.parametrize("option", ["sslrootcert", "sslcert", "sslkey"])
def test_a_file_that_is_not_there_is_named(option: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{option} is not there: {tmp_path}/none.pem"):
        target_of(f"postgresql://u@h/db?{option}={tmp_path}/none.pem")


@pytest.mark.parametrize(
    "wrong",
    [
        "sslmode=bogus",
        "sslmode=%ff",
        "sslnegotiation=bogus",
        "sslnegotiation=direct",
        "ssl_min_protocol_version=TLSv9",
        "ssl_max_protocol_version=SSLv2&sslmode=require",
        "target_session_attrs=bogus",
        "gsslib=x",
    ],
)
def test_a_value_that_is_none_of_an_option_is_refused_by_its_name(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong.partition("=")[0]):
        target_of(f"postgresql://u@127.0.0.1:1/x?{wrong}")


def test_to_verify_takes_an_authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(ValueError, match="sslrootcert"):
            target_of(f"postgresql://u@h/x?sslmode={mode}")
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_text("")
    assert target_of("postgresql://u@h/x?sslmode=verify-full").url.endswith("sslmode=verify-full")


@pytest.mark.parametrize(
    "hosts", ["::1:5", "h:1:2", "127.0.0.1:¹", ",", "a..b:1", "a" * 300, "h:0", "h:65536", "one,,two"]
)
def test_what_is_no_host_is_refused(hosts: str) -> None:
    with pytest.raises(ValueError, match=r"host|port|brackets"):
        target_of(f"postgresql://u:TOP@{hosts}/x")


@pytest.mark.parametrize("hosts", ["", "h", "h:1", "[::1]", "[::1]:5432", "one,two:5433", "127.0.0.1", "%2Frun%2Fpg"])
def test_what_is_a_host_is_taken(hosts: str) -> None:
    assert target_of(f"postgresql://u@{hosts}/x").url == f"postgresql://u@{hosts}/x"
