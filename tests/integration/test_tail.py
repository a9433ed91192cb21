"""The tail: every fact once, in order, however large, and quickly noticed changes of history."""

from tests.integration.logs import (
    MIB,
    connected,
    fact,
    following_tail,
    ids_of,
    store,
    until,
)


async def test_a_fact_of_the_greatest_size_does_not_stop_the_tail(database_url: str) -> None:
    large = b'"' + b"x" * (MIB - 2) + b'"'
    facts = [fact(payload=large), fact(), fact(payload=large), fact(payload=large), fact()]
    async with connected(database_url) as [connection], following_tail(database_url) as tail:
        for each in facts:
            await store(connection, [each])
            await until(lambda: tail.head > 0)
        await until(lambda: tail.head == len(facts), seconds=5)
        assert [id for _, id in reversed(tail.ring.ids())] == ids_of(facts)
