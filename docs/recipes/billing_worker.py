"""Send an invoice for each order, once, beside other workers: python billing_worker.py http://127.0.0.1:8000"""

import os
import sys

from factwire_client import Claimed, Factwire, Park, Problem, Query

ORDERS = Query(namespaces=["orders"], types=["OrderPlaced"])


def main(url: str) -> None:
    with Factwire(url, key=os.environ.get("KEY")) as log:

        def bill(claimed: Claimed) -> None:
            order = claimed.fact
            total = order.payload.get("total")
            if not isinstance(total, (int, float)):
                raise Park("the order has no total")
            # The invoice and the acknowledgement are one transaction: there is no moment between them to be killed in.
            log.publish(
                "billing",
                "InvoiceSent",
                {"total": total, "attempt": claimed.attempt},
                id=order.derived_id("invoice"),
                aggregate_ids=order.aggregate_ids,
                acknowledge=claimed,
            )

        try:
            log.subscribe("billing", ORDERS, start="start", ack_timeout_seconds=5)
            log.work("billing", bill)
        except Problem as problem:
            sys.exit(problem.text)
        except KeyboardInterrupt:
            pass  # what was not handled has been released


if __name__ == "__main__":
    main(*sys.argv[1:])
