"""Queries: OR of items, AND of parts, and equal queries are equal values."""

import pytest

from factwire.domain.query import EVERYTHING, Item, Query, new_item

TAGS = frozenset({"a:order-1", "a:order-2", "m:label:x", "m:label:y"})


@pytest.mark.parametrize(
    ("item", "matches"),
    [
        (Item(), True),
        (new_item(namespaces=["shop", "other"]), True),
        (new_item(namespaces=["other"]), False),
        (new_item(types=["Other", "OrderPlaced"]), True),
        (new_item(namespaces=["shop"], types=["Other"]), False),
        (new_item(aggregate_ids=["order-1", "order-2"]), True),
        (new_item(aggregate_ids=["order-1", "order-3"]), False),
        (new_item(meta=[("label", "x"), ("label", "y")]), True),
        (new_item(meta=[("label", "z")]), False),
        (new_item(aggregate_ids=["order-1"], meta=[("label", "z")]), False),
        (new_item(aggregate_ids=["x"]), False),
        (new_item(any_aggregate_id=["x", "order-2"]), True),
        (new_item(any_aggregate_id=["x", "y"]), False),
        (new_item(aggregate_ids=["order-1"], any_aggregate_id=["order-1", "z"]), True),
        (new_item(aggregate_ids=["x"], any_aggregate_id=["order-1"]), False),
    ],
)
def test_an_item_matches_where_all_its_parts_do(item: Item, matches: bool) -> None:
    assert item.matches("shop", "OrderPlaced", TAGS) is matches


def test_a_query_matches_where_any_item_does() -> None:
    yes, no = new_item(namespaces=["shop"]), new_item(namespaces=["other"])
    assert Query((no, yes)).matches("shop", "OrderPlaced", TAGS)
    assert not Query((no, no)).matches("shop", "OrderPlaced", TAGS)


def test_no_items_match_every_fact() -> None:
    assert EVERYTHING.matches("any", "Thing", frozenset())


def test_the_order_and_repetition_of_values_make_no_other_query() -> None:
    one = new_item(namespaces=["b", "a"], types=["t"], aggregate_ids=["2", "1", "1"], meta=[("k", "v"), ("j", "w")])
    two = new_item(namespaces=["a", "b", "a"], types=["t"], aggregate_ids=["1", "2"], meta=[("j", "w"), ("k", "v")])
    assert one == two
    assert hash(Query((one,))) == hash(Query((two,)))
