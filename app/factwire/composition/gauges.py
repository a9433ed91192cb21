"""Prometheus gauges of the state of one process."""

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from factwire.api.http.context import Context
from factwire.api.http.problems import STATUSES
from factwire.follow.notifications import Listener
from factwire.follow.streams import REASONS
from factwire.jobs.upkeep import Upkeep
from factwire.publish.outcomes import OUTCOMES
from factwire.store.subscriptions.totals import Totals
from factwire.telemetry.metrics import Values

if TYPE_CHECKING:
    pass


def measure(context: Context, listener: Listener, upkeep: Upkeep) -> None:
    """Register the gauges that report the state of the components."""
    context.metrics.expect(outcomes=OUTCOMES, reasons=REASONS, problems=[error.code for error in STATUSES])
    gauge, gauges = context.metrics.gauge, context.metrics.gauges
    tail, lanes = context.tail, context.pools.all()
    gauges("factwire_open_streams", "Open streams, by state.", ("state",), lambda: context.streams.states)
    gauge("factwire_head_position", "Position of the newest fact that the tail has read.", lambda: context.tail.head)
    gauge(
        "factwire_forks",
        "Forks of the history that were detected.",
        lambda: max(tail.forks, int(tail.fork is not None)),
    )
    gauge(
        "factwire_history_unconfirmed",
        "1 if the database was promoted or restored, and it is not confirmed that nothing was lost.",
        lambda: upkeep.history.unconfirmed,
    )
    gauge(
        "factwire_database_reachable",
        "1 if the tail reads, and no connection pool fails.",
        lambda: context.database_reachable,
    )
    gauge(
        "factwire_database_standby",
        "1 if the database is a standby: history and streams are served, nothing is published.",
        lambda: bool(tail.on_standby),
    )
    gauge("factwire_listener_connected", "1 if the connection for notifications is open.", lambda: listener.connected)
    gauge("factwire_publishes_waiting", "Publishes in progress.", lambda: context.publisher.waiting)
    gauge("factwire_partition_room_facts", "Facts that fit into the existing partitions.", lambda: upkeep.room or 0)
    gauge(
        "factwire_tail_lag_facts",
        "Facts that the tail has not read yet.",
        lambda: math.nan if upkeep.head is None else max(0, upkeep.head - tail.head),
    )
    gauge("factwire_tail_lag_seconds", "Seconds since the tail was at the head.", lambda: tail.lag_seconds)
    gauge("factwire_append_lock_waiting", "Sessions that wait for the append lock.", lambda: upkeep.lock.waiting)
    gauge("factwire_append_lock_wait_seconds", "The longest wait for the lock.", lambda: upkeep.lock.seconds)
    measure_subscriptions(context, upkeep)
    gauges(
        "factwire_database_connections",
        "Connections to the database, by lane and state.",
        ("lane", "state"),
        lambda: {(lane.name, state): getattr(lane, state) for lane in lanes for state in ("used", "idle")},
    )


def measure_subscriptions(context: Context, upkeep: Upkeep) -> None:
    """Register the gauges of subscriptions. Every process reports the same values: they are those of the database.

    Names appear only if an operator allows it, since the metrics are open to all.
    """
    gauge, gauges = context.metrics.gauge, context.metrics.gauges
    named = context.settings.metrics_subscriptions

    def by_name(read: Callable[[Totals], float]) -> Values:
        return {(each.name,): read(each) for each in upkeep.subscriptions} if named else {}

    gauges("factwire_subscriptions", "Subscriptions, by state.", ("state",), lambda: states_of(upkeep))
    gauges(
        "factwire_subscription_facts",
        "Open facts of all subscriptions, by state.",
        ("state",),
        lambda: {
            (name.replace("_", "-"),): sum([getattr(each, name) for each in upkeep.subscriptions])
            for name in ("in_flight", "ready", "waiting", "parked")
        },
    )
    gauge(
        "factwire_subscription_lag_positions_max",
        "The greatest distance of an active subscription to the head.",
        lambda: max([each.lag for each in upkeep.subscriptions if each.state == "active"], default=0),
    )
    gauge(
        "factwire_subscription_oldest_open_seconds_max",
        "The age of the oldest open fact of all subscriptions.",
        lambda: max([each.oldest_seconds for each in upkeep.subscriptions], default=0.0),
    )
    gauge(
        "factwire_subscriptions_limited",
        "Subscriptions of which a limit keeps facts back.",
        lambda: sum([each.limited for each in upkeep.subscriptions]),
    )
    labels = ("subscription",)
    gauges("factwire_subscription_lag_positions", "Distance to the head.", labels, lambda: by_name(lambda of: of.lag))
    gauges("factwire_subscription_parked_facts", "Parked facts.", labels, lambda: by_name(lambda of: of.parked))


def states_of(upkeep: Upkeep) -> Values:
    counts = Counter([each.state for each in upkeep.subscriptions])
    return {(state,): counts[state] for state in ("active", "paused", "failed")}
