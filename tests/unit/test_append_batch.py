"""Which requests are appended by one call."""

from collections.abc import Sequence

from factwire.domain.condition import fail_if_match
from factwire.domain.fact import NewFact
from factwire.domain.position import Cursor, Position
from factwire.domain.query import Item, Query, new_item
from factwire.publish.batch import GROUP_PROBES_MAX, PROBE_COST, AppendBatch, Request, probes_of


def new_request(*items: Item, facts: Sequence[NewFact] = ()) -> Request:
    condition = fail_if_match(Query(items), Cursor(0, Position(0))) if items else None
    return Request(facts, condition, 0, 0, "tenant", lambda request, outcome: None)


TYPES = new_item(types=[f"T{n}" for n in range(100)])
MANY = new_item(types=["T"], aggregate_ids=[f"order-{n}" for n in range(100)])


def test_what_is_looked_up_for_the_conditions_of_a_call_is_bounded_unless_one_request_has_more() -> None:
    group = AppendBatch(postings_max=1000)
    largest = new_request(*[MANY] * 32)
    assert probes_of(TYPES) < probes_of(MANY) <= GROUP_PROBES_MAX / 32
    while group.has_room_for(largest):
        group.add(largest)
    assert 1 <= len(group.requests) <= GROUP_PROBES_MAX / probes_of(MANY)
    assert group.has_room_for(new_request())


def test_who_has_much_looked_up_waits_longer_for_the_next_turn() -> None:
    assert new_request(*[MANY] * 32).cost >= 32 * probes_of(MANY) * PROBE_COST
    assert new_request().cost < 32 * PROBE_COST
