"""Budgets: so much for all, half of it for one tenant, and nothing is forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factwire.domain.budget import Budget
from factwire.domain.errors import Unavailable


def test_one_tenant_has_half_of_it() -> None:
    budget = Budget(100, refusal="full")
    budget.take("a", 50)
    with pytest.raises(Unavailable, match="full"):
        budget.take("a", 1)
    budget.take("b", 50)
    with pytest.raises(Unavailable):
        budget.take("c", 1)


def test_one_request_always_fits_where_nobody_else_is() -> None:
    budget = Budget(100, refusal="full", least=80)
    budget.take("a", 80)
    assert not budget.fits("b", 21)


def test_a_refused_tenant_is_not_remembered_and_an_ended_one_forgotten() -> None:
    budget = Budget(10, refusal="full")
    for number in range(100):
        with pytest.raises(Unavailable):
            budget.take(f"refused-{number}", 11)
        with budget.held(f"ended-{number}", 5):
            assert budget.used == 5
    assert (budget.used, budget.tenants) == (0, 0)


def test_a_tenant_that_holds_nothing_is_not_remembered() -> None:
    budget = Budget(10, refusal="full")
    for number in range(100):
        budget.hold(f"tenant-{number}", 0)
        with budget.held(f"other-{number}", 0):
            assert budget.tenants == 0
        budget.give_back(f"tenant-{number}", 0)
    assert (budget.used, budget.tenants) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=40))
def test_it_never_holds_more_than_it_may(takes: list[tuple[str, int]]) -> None:
    budget = Budget(100, refusal="full")
    held: dict[str, int] = {}
    for tenant, count in takes:
        fits = sum(held.values()) + count <= 100 and held.get(tenant, 0) + count <= 50
        assert budget.fits(tenant, count) == fits
        if fits:
            budget.take(tenant, count)
            held[tenant] = held.get(tenant, 0) + count
    for tenant, count in held.items():
        budget.give_back(tenant, count)
    assert budget.used == 0
