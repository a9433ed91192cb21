"""QueryIndex queries: the index finds for each fact exactly those whose query matches it."""

import random
from uuid import uuid4

from factwire.domain.position import START, Position
from factwire.domain.query import EVERYTHING, Query, new_item
from factwire.follow.query_index import QueryIndex
from factwire.store.read_tail import TailFact

AT = "2026-01-31T12:00:00.000000Z"
NAMESPACES, TYPES, IDS, LABELS = ("shop", "loans"), ("Placed", "Paid", "shop"), ("1", "2", "3"), ("x", "y")


def fact(position: int, namespace: str, type: str, tags: tuple[str, ...]) -> tuple[Position, TailFact]:
    return Position(position), TailFact(Position(position), AT, str(uuid4()), namespace, type, tags, b"{}")


def some(chance: random.Random, values: tuple[str, ...]) -> list[str]:
    return chance.sample(values, chance.choice((0, 0, 1, 2)))


def a_query(chance: random.Random) -> Query:
    return Query(
        tuple(
            new_item(
                namespaces=some(chance, NAMESPACES),
                types=some(chance, TYPES),
                aggregate_ids=some(chance, IDS),
                any_aggregate_id=some(chance, IDS),
                meta=[("label", value) for value in some(chance, LABELS)],
            )
            for _ in range(chance.randrange(3))
        )
    )


def facts(chance: random.Random, count: int) -> list[tuple[Position, TailFact]]:
    return [
        fact(
            position,
            chance.choice(NAMESPACES),
            chance.choice(TYPES),
            (*(f"a:{id}" for id in some(chance, IDS)), *(f"m:label:{value}" for value in some(chance, LABELS))),
        )
        for position in range(1, count + 1)
    ]


def found_by(
    query_index: QueryIndex[int],
    added: list[tuple[Position, TailFact]],
    *,
    after: Position = START,
    looks_max: int = 10**9,
) -> tuple[dict[int, list[Position]], Position]:
    found = [each for each in query_index.find(added, after=after, looks_max=looks_max) if each is not None]
    assert len(found) == 1
    return found[0].positions, found[0].through


def test_each_gets_the_facts_that_its_query_matches_in_order() -> None:
    chance = random.Random(7)
    query_index: QueryIndex[int] = QueryIndex()
    queries = {who: a_query(chance) for who in range(300)}
    for who, query in queries.items():
        query_index.add(who, query)
    for gone in chance.sample(range(300), 100):
        query_index.discard(gone, queries.pop(gone))
    added = facts(chance, 200)
    found, through = found_by(query_index, added)
    assert through == 200
    assert set(found) <= set(queries)
    for who, query in queries.items():
        matching = [position for position, one in added if query.matches(one.namespace, one.type, set(one.tags))]
        assert found.get(who, []) == matching, query


def test_nothing_is_kept_of_those_who_left() -> None:
    chance = random.Random(8)
    query_index: QueryIndex[int] = QueryIndex()
    queries = [a_query(chance) for _ in range(100)]
    for who, query in enumerate(queries):
        query_index.add(who, query)
    for who, query in enumerate(queries):
        query_index.discard(who, query)
    assert query_index.is_empty()


def test_it_stops_after_so_many_looks_and_goes_on_from_there() -> None:
    query_index: QueryIndex[int] = QueryIndex()
    for who in range(10):
        query_index.add(who, EVERYTHING)
    added = facts(random.Random(9), 30)
    seen: list[Position] = []
    through = START
    while through < 30:
        found, further = found_by(query_index, added[through:], after=through, looks_max=25)
        assert through < further < through + 5
        assert set(map(tuple, found.values())) == {tuple(range(through + 1, further + 1))}
        seen, through = seen + found[0], further
    assert seen == list(range(1, 31))


def test_queries_that_do_not_match_count_as_looks() -> None:
    query_index: QueryIndex[int] = QueryIndex()
    for who in range(100):
        query_index.add(
            who, Query((new_item(namespaces=["shop"], types=["Placed", f"Other{who}"], aggregate_ids=["1"]),))
        )
    added = [fact(position, "loans", "Paid", ("a:1",)) for position in range(1, 11)]
    assert found_by(query_index, added, looks_max=1000) == ({}, Position(3))


def test_one_fact_is_looked_at_in_steps_however_large_the_queries_are() -> None:
    query_index: QueryIndex[int] = QueryIndex()
    wide = [f"{number:03}" for number in range(95)]
    for who in range(20):
        items = [new_item(aggregate_ids=[*wide, f"not-{who}-{item}"]) for item in range(32)]
        query_index.add(who, Query(tuple(items)))
    added = [fact(1, "shop", "Placed", tuple(f"a:{each}" for each in wide))]
    steps = list(query_index.find(added, after=START, looks_max=5_000))
    assert len(steps) > 20 * 32 * 96 / 10_000
    assert steps[-1] is not None
    assert (steps[-1].positions, steps[-1].through) == ({}, 1)


def test_queries_may_come_and_go_while_it_pauses() -> None:
    query_index: QueryIndex[int] = QueryIndex()
    queries = {who: Query((new_item(types=["Placed"], aggregate_ids=["1"]),)) for who in range(300)}
    for who, query in queries.items():
        query_index.add(who, query)
    added = [fact(position, "shop", "Placed", ("a:1",)) for position in range(1, 4)]
    finding = query_index.find(added, after=START, looks_max=500)
    assert next(finding) is None
    query_index.discard(299, queries[299])
    query_index.add(300, queries[0])
    found = next(each for each in finding if each is not None)
    assert set(range(299)) <= set(found.positions)
