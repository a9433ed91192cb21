"""The tail: every fact once, in order, however large, and quickly noticed changes of history."""

from factwire.domain.position import Position
from factwire.domain.query import Query, new_item
from tests.integration.logs import MIB, connected, fact, following_tail, ids_of, store
from tests.support.waiting import until


async def test_a_fact_of_the_greatest_size_does_not_stop_the_tail(database_url: str) -> None:
    large = b'"' + b"x" * (MIB - 2) + b'"'
    facts = [fact(payload=large), fact(), fact(payload=large), fact(payload=large), fact()]
    async with connected(database_url) as [connection], following_tail(database_url) as tail:
        for each in facts:
            await store(connection, [each])
            await until(lambda: tail.head > 0)
        await until(lambda: tail.head == len(facts), seconds=5)
        assert [mark.id for _, mark in reversed(tail.ring.marks())] == ids_of(facts)


async def test_a_payload_that_the_decoder_refuses_does_not_stop_the_tail_of_another_process(database_url: str) -> None:
    payloads = [
        rb'"\ud800"',
        rb'{"meta":{},"payload":"\udfff"}',
        b"[" * 900 + b"]" * 900,
        b"1e400",
        b'"},\\"payload\\":"',
    ]
    facts = [fact("order-1", meta={"payload": "x"}, payload=payload) for payload in payloads]
    query = Query((new_item(aggregate_ids=["order-1"], meta=[("payload", "x")]),))
    async with connected(database_url) as [connection], following_tail(database_url) as tail:
        for number, each in enumerate(facts, 1):
            await store(connection, [each])
            await until(lambda number=number: tail.head == number, seconds=5)
        assert tail.ring.take(query, Position(0), typed=False).facts == len(facts)
