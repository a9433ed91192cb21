"""A shop that publishes: customers place orders, at most three that are open, pay them and get them.

It finds the service at FACTWIRE_URL, and publishes about four facts a second until it is stopped.
"""

import random
import sys
import time
from functools import partial

from factwire.client import Fact, Factwire, NewFact, Query
from factwire.client.facts import uuid7

CUSTOMERS = [f"customer-{number}" for number in range(1, 21)]
ITEMS = {"book": 12.5, "lamp": 40.0, "chair": 85.0, "pencil": 0.9}
NEXT = {"OrderPlaced": "OrderPaid", "OrderPaid": "OrderShipped"}
OPEN_MAX = 3


def next_step(facts: list[Fact], customer: str) -> NewFact:
    """What happens to the customer's orders next: a new one, or the next step of one that is open."""
    last = {fact.aggregate_ids[-1]: fact for fact in facts}
    waiting = [fact for fact in last.values() if fact.type in NEXT]
    if (len(waiting) < OPEN_MAX and random.random() < 0.5) or not waiting:
        item = random.choice(list(ITEMS))
        order, payload, type = f"order-{str(uuid7())[-12:]}", {"item": item, "total": ITEMS[item]}, "OrderPlaced"
    else:
        fact = random.choice(waiting)
        order, payload, type = fact.aggregate_ids[-1], {}, NEXT[fact.type]
    return NewFact(
        "shop", type, payload, aggregate_ids=[customer, order], meta={"channel": random.choice(["web", "app"])}
    )


def main(facts_max: float = float("inf")) -> None:
    with Factwire() as log:
        while facts_max > 0:
            customer = random.choice(CUSTOMERS)
            query = Query(namespaces=["shop"], aggregate_ids=[customer])
            published = log.decide(query, partial(next_step, customer=customer))
            print("published at position", published.position if published else None, flush=True)
            time.sleep(random.uniform(0, 0.5))
            facts_max -= 1


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
