"""The suite itself: a case is named once, so that a report can be traced to the contract."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def cases_of(item: pytest.Item) -> list[str]:
    return [str(marker.args[0]) for marker in item.iter_markers("case")]


@pytest.mark.case("cases-have-ids-of-their-own")
def test_every_case_has_an_id_of_its_own(request: pytest.FixtureRequest) -> None:
    items = [item for item in request.session.items if HERE in item.path.parents]
    named = {(item.path, item.location[2].partition("[")[0]): cases_of(item) for item in items}
    assert [test for test, ids in named.items() if len(ids) != 1] == []
    ids = [id_ for each in named.values() for id_ in each]
    assert sorted(ids) == sorted(set(ids))
    assert [id_ for id_ in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id_)] == []


@pytest.mark.case("cases-import-nothing-of-the-service")
def test_the_suite_imports_nothing_of_the_service() -> None:
    ours = r"(?!tests\.conformance\b)(factwire|alembic|asyncpg|sqlalchemy|tests)\b"
    imported = re.compile(rf"^\s*(?:from|import) {ours}", re.M)
    assert [path.name for path in HERE.glob("*.py") if imported.search(path.read_text())] == []
