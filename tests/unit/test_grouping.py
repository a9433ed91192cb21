"""Which requests are appended by one call."""

from collections.abc import Sequence

from app.domain.condition import Condition
from app.domain.fact import NewFact
from app.domain.position import Cursor, Position
from app.domain.query import Item, Query, new_item
from app.stream.grouping import GROUP_KIND_ITEMS_MAX, KIND_ITEM_COST, Group, Request


def new_request(*items: Item, facts: Sequence[NewFact] = ()) -> Request:
    condition = Condition(Query(items), Cursor(0, Position(0))) if items else None
    return Request(facts, condition, lambda outcome: None, lambda request, outcome: None, 0, 0, "tenant")


KIND, TAG = new_item(types=["T"]), new_item(types=["T"], aggregate_ids=["order-1"])


def test_a_call_goes_through_the_catalogue_no_more_often_than_one_request_may_ask_for() -> None:
    group = Group(postings_max=1000)
    largest = new_request(*[KIND] * GROUP_KIND_ITEMS_MAX)
    assert group.has_room_for(largest)
    group.add(largest)
    assert not group.has_room_for(new_request(KIND))
    assert group.has_room_for(new_request())
    assert group.has_room_for(new_request(TAG))


def test_who_asks_for_kinds_waits_longer_for_the_next_turn() -> None:
    assert new_request(*[KIND] * 32).cost >= 32 * KIND_ITEM_COST
    assert new_request(TAG).cost < KIND_ITEM_COST
