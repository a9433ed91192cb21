"""Ship what was ordered, once: python shipping_service.py http://127.0.0.1:8000 shipping.json"""

import math
import os
import sys
from typing import Any

from factwire_client import Fact, Factwire, FileView, Problem, Query

ORDERS = Query(namespaces=["orders"], types=["OrderPlaced"])


def main(url: str, path: str) -> None:
    # Without a limit, so that a service that is away holds up the shipping and does not end it.
    with Factwire(url, key=os.environ.get("KEY"), give_up_after=math.inf) as log:

        def ship(state: dict[str, Any], order: Fact) -> None:
            id = order.derived_id("shipped")  # every part follows from the order, so that a repetition is the same fact
            parcel = {"parcel": f"parcel-{id[:8]}"}
            log.publish("shipping", "OrderShipped", parcel, id=id, aggregate_ids=order.aggregate_ids)
            state["shipped"] += 1

        try:
            log.project(FileView(path, {"shipped": 0}), ORDERS, ship, batch_max=1)
        except Problem as problem:
            sys.exit(problem.text)  # going on would be wrong


if __name__ == "__main__":
    main(*sys.argv[1:])
