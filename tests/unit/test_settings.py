"""Settings: what can never work is refused by name, without repeating what it holds."""

from pathlib import Path
from typing import Any

import pytest

from factwire.cli.main import main
from factwire.setting_values import FROM_FILES
from factwire.settings import Settings, range_of

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


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a database's URL, or of the mode of access, it would be the opposite of what somebody meant to set."""
    monkeypatch.setenv(f"FACTWIRE_{name.upper()}", value)
    assert main(["migrate"]) == 2
    assert capsys.readouterr().err.startswith(f"FACTWIRE_{name.upper()}: is empty")


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_secret_may_stand_in_a_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, variable = tmp_path / "secret", f"FACTWIRE_{name.upper()}"
    file.write_text("postgresql://app:secret@host/log\n")
    monkeypatch.setenv(f"{variable}_FILE", str(file))
    assert getattr(Settings(**NOTHING_GIVEN), name).get_secret_value() == "postgresql://app:secret@host/log"
    monkeypatch.setenv(variable, "postgresql://app:other@host/log")
    assert main(["migrate"]) == 2
    assert f"{variable}_FILE: {variable} is set as well" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_file_that_holds_no_secret_is_refused_by_name(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("FACTWIRE_DATABASE_URL_FILE", str(file))
    assert main(["migrate"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"FACTWIRE_DATABASE_URL_FILE: {file} ")
    assert "Traceback" not in told


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
