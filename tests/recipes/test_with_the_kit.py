"""Recipes by the testing kit of the client, as their reader would test them: in one process."""

import sqlite3
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest

from factwire_client import FileView
from factwire_client.testing import Facts
from factwire_client.testing.plugin import facts, factwire
from tests.recipes.programs import DOCS

__all__ = ["facts", "factwire"]  # fixtures


def recipe(name: str) -> ModuleType:
    spec = spec_from_file_location(name, DOCS / "recipes" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_more_is_withdrawn_than_is_there(facts: Facts) -> None:
    withdraw = recipe("withdraw").withdraw
    account, withdrawal = f"account-{uuid4()}", str(uuid4())
    facts.given("MoneyDeposited", {"amount": 100}, namespace="bank", aggregate_ids=[account])
    assert withdraw(facts.log, account, 70, withdrawal) == "withdrawn"
    assert withdraw(facts.log, account, 70, withdrawal) == "withdrawn"  # once
    with pytest.raises(SystemExit, match="the balance is 30"):
        withdraw(facts.log, account, 70, str(uuid4()))
    assert [fact.payload for fact in facts.published(type="MoneyWithdrawn")] == [{"amount": 70}]


def test_an_address_belongs_to_one_user(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", facts.namespace)
    claim = recipe("unique_email").claim
    first, second = f"user-{uuid4()}", f"user-{uuid4()}"
    claim(facts.log, first, "ada@example.com")
    with pytest.raises(SystemExit, match="taken"):
        claim(facts.log, second, "Ada@Example.com")
    claim(facts.log, first, "countess@example.com")
    claim(facts.log, second, "ada@example.com")
    types = [(fact.type, fact.aggregate_ids) for fact in facts.published()]
    claimed, released = "EmailClaimed", "EmailReleased"
    assert types == [(claimed, [first]), (released, [first]), (claimed, [first]), (claimed, [second])]


def test_an_order_is_kept_as_it_was_placed_and_shipped(facts: Facts, tmp_path: Path) -> None:
    service = recipe("order_service")
    state = sqlite3.connect(tmp_path / "orders.db")
    state.execute(service.TABLE)
    order = f"order-{uuid4()}"
    facts.given("OrderPlaced", {"item": "a book"}, namespace="orders", aggregate_ids=[order])
    facts.given("OrderShipped", {"parcel": "p-1"}, namespace="shipping", aggregate_ids=[order])
    for fact in facts.published(service.QUERY):
        service.keep(state, fact)
    assert state.execute("select item, shipments from orders").fetchall() == [("a book", 1)]
    state.close()


def test_a_view_is_waited_for(facts: Facts, tmp_path: Path) -> None:
    view = FileView(tmp_path / "view.json", {"seen": 0})
    facts.given("Counted")

    def count(state: dict[str, int], fact: object) -> None:
        state["seen"] += 1

    facts.log.project(view, None, count, until_caught_up=True)
    facts.wait_until_caught_up(view)
    assert view.state["seen"] >= 1
