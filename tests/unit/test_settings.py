"""Settings: what can never work is refused by name, without repeating what it holds."""

from typing import Any

import pytest

from app.cli import main
from app.settings import Settings, range_of

PASSWORD = "TOP-SECRET"
NOTHING_GIVEN: dict[str, Any] = {}
WRONG = (
    f"mysql://app:{PASSWORD}@host/log",
    f"postgresql://app:{PASSWORD}",
    f"postgresql://app:{PASSWORD}/more@host/log",
    f"postgresql://app:{PASSWORD}#more@host/log",
    f"postgresql://app:{PASSWORD}?more@host/log",
    f"host=one password={PASSWORD}",
)
RIGHT = (
    "postgresql://app:pa%23ss:word@host:5432/log",
    "postgresql://app@one:5432,two/log?target_session_attrs=read-write",
    "postgres://app@[::1]:5432/log",
    "postgresql://app@[::1]/log",
    "postgresql:///log?host=/run/postgresql",
    "postgresql://postgres@/postgres?host=%2Ftmp%2Fx&port=5433",
)


@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_URL"])
@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_cannot_work_is_refused_by_name_without_its_password(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"FACTWIRE_{name}", url)
    assert main(["migrate"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"FACTWIRE_{name}: ")
    assert PASSWORD not in told


@pytest.mark.parametrize("url", RIGHT)
def test_every_form_of_url_that_works_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTWIRE_DATABASE_URL", url)
    taken = Settings(**NOTHING_GIVEN).database_url
    assert taken is not None
    assert taken.get_secret_value() == url


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    unset = Settings(**NOTHING_GIVEN)
    for name in ("DATABASE_URL", "DATA_DIR", "PORT"):
        monkeypatch.setenv(f"FACTWIRE_{name}", "")
    assert Settings(**NOTHING_GIVEN) == unset


NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_cannot_work_is_refused_with_its_range(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = range_of(name)
    assert bounds is not None
    least, most = bounds
    whole = Settings.model_fields[name].annotation is int
    for value in (least - (1 if whole else 1e-9), most + 1, "inf", "nan", "-inf", "1e400", "many"):
        monkeypatch.setenv(f"FACTWIRE_{name.upper()}", f"{value:.15g}" if isinstance(value, float) else value)
        assert main(["migrate"]) == 2, value
        told = capsys.readouterr().err
        assert told.startswith(f"FACTWIRE_{name.upper()}: ")
        assert told.endswith(f" ({least:.15g} to {most:.15g})\n")
    for value in bounds:
        monkeypatch.setenv(f"FACTWIRE_{name.upper()}", f"{value:.15g}")
        assert getattr(Settings(**NOTHING_GIVEN), name) == value
