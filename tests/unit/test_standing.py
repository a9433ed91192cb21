"""Standing queries: the index finds for each fact exactly those whose query matches it."""

import random
from uuid import uuid4

from app.domain.position import START, Position
from app.domain.query import EVERYTHING, Query, new_item
from app.store.reading import TailFact
from app.stream.standing import Standing

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


def test_each_gets_the_facts_that_its_query_matches_in_order() -> None:
    chance = random.Random(7)
    standing: Standing[int] = Standing()
    queries = {who: a_query(chance) for who in range(300)}
    for who, query in queries.items():
        standing.add(who, query)
    for gone in chance.sample(range(300), 100):
        standing.discard(gone, queries.pop(gone))
    added = facts(chance, 200)
    found, through = standing.find(added, after=START, looks_max=10**9)
    assert through == 200
    assert set(found) <= set(queries)
    for who, query in queries.items():
        matching = [position for position, one in added if query.matches(one.namespace, one.type, one.tags)]
        assert found.get(who, []) == matching, query


def test_nothing_is_kept_of_those_who_left() -> None:
    chance = random.Random(8)
    standing: Standing[int] = Standing()
    queries = [a_query(chance) for _ in range(100)]
    for who, query in enumerate(queries):
        standing.add(who, query)
    for who, query in enumerate(queries):
        standing.discard(who, query)
    assert standing.is_empty()


def test_it_stops_after_so_many_looks_and_goes_on_from_there() -> None:
    standing: Standing[int] = Standing()
    for who in range(10):
        standing.add(who, EVERYTHING)
    added = facts(random.Random(9), 30)
    seen: list[Position] = []
    through = START
    while through < 30:
        found, further = standing.find(added[through:], after=through, looks_max=25)
        assert through < further < through + 5
        assert set(map(tuple, found.values())) == {tuple(range(through + 1, further + 1))}
        seen, through = seen + found[0], further
    assert seen == list(range(1, 31))


def test_queries_that_do_not_match_count_as_looks() -> None:
    standing: Standing[int] = Standing()
    for who in range(100):
        standing.add(who, Query((new_item(namespaces=["shop"], types=["Placed", f"Other{who}"], aggregate_ids=["1"]),)))
    added = [fact(position, "loans", "Paid", ("a:1",)) for position in range(1, 11)]
    assert standing.find(added, after=START, looks_max=250) == ({}, Position(3))
