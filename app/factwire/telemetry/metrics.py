"""Metrics in the Prometheus format; each application has its own registry."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from factwire.telemetry.fast_counters import HistogramBuckets, LabelledCounter, LabelledHistogram

GROUP_FACTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

DELIVERIES = ("acknowledged", "retried", "parked", "released", "lost")

Values = Mapping[tuple[str, ...], float]


class Metrics:
    """Metrics of one process. Gauges query their source when they are read."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._publishes = LabelledCounter(
            "factwire_publishes",
            "Publishes that ended, by outcome: published, replayed, abandoned, or the code of a problem.",
            "outcome",
        )
        self._waited, self._appended, self._whole = (
            HistogramBuckets(SECONDS),
            HistogramBuckets(SECONDS),
            HistogramBuckets(SECONDS),
        )
        seconds = LabelledHistogram(
            "factwire_publish_seconds",
            "Time of publishing: the longest wait in each group, each append call, and each request as a whole.",
            "stage",
            {"wait": self._waited, "append": self._appended, "whole": self._whole},
        )
        self._registry.register(self._publishes)
        self._registry.register(seconds)
        self._group_facts = HistogramBuckets(GROUP_FACTS)
        self._registry.register(AppendedFacts(self._group_facts))
        self._pages = Counter("factwire_history_pages", "Pages of history that were read.", registry=self._registry)
        self._refused = Counter(
            "factwire_refused_requests",
            "Requests that were answered with a problem, by its code.",
            ["code"],
            registry=self._registry,
        )
        self._deliveries = LabelledCounter(
            "factwire_deliveries",
            "Facts of subscriptions by the answers of workers: acknowledged, retried, parked, released or lost.",
            "outcome",
        )
        self._deliveries.expect(DELIVERIES)
        self._claims = HistogramBuckets(SECONDS)
        calls = {"call": self._claims}
        claims = LabelledHistogram("factwire_claim_seconds", "Time of each call for claims.", "stage", calls)
        self._registry.register(self._deliveries)
        self._registry.register(claims)
        self._streams_ended = Counter(
            "factwire_streams_ended",
            "Streams that ended, by reason: age, client, drain, epoch, slow, or the code of a problem.",
            ["reason"],
            registry=self._registry,
        )

    def expect(self, *, outcomes: Iterable[str], reasons: Iterable[str], problems: Iterable[str]) -> None:
        """Export these label values from the start: Prometheus does not see the first increase of a new series."""
        self._publishes.expect(outcomes)
        for reason in reasons:
            self._streams_ended.labels(reason)
        for code in problems:
            self._refused.labels(code)

    def group_appended(self, *, facts: int, wait_seconds: float, append_seconds: float) -> None:
        self._group_facts.observe(facts)
        self._waited.observe(wait_seconds)
        self._appended.observe(append_seconds)

    def request_refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def publish_ended(self, outcome: str, seconds: float) -> None:
        self._publishes.count(outcome)
        self._whole.observe(seconds)

    def delivered(self, outcome: str, facts: int) -> None:
        """Count facts of subscriptions by their outcome, one of DELIVERIES."""
        self._deliveries.count(outcome, facts)

    def claims_called(self, seconds: float) -> None:
        self._claims.observe(seconds)

    def page_read(self) -> None:
        self._pages.inc()

    def stream_ended(self, reason: str) -> None:
        self._streams_ended.labels(reason).inc()

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when the metrics are collected."""
        self.gauges(name, help, (), lambda: {(): read()})

    def gauges(self, name: str, help: str, labels: tuple[str, ...], read: Callable[[], Values]) -> None:
        """Add a gauge with labels; all its values are read together."""
        self._registry.register(Gauges(name, help, labels, read))

    def render(self) -> tuple[bytes, str]:
        """Metrics in the text format of Prometheus, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class AppendedFacts(Collector):
    """Number of facts of all append calls, and their distribution over the calls."""

    def __init__(self, calls: HistogramBuckets) -> None:
        self._calls = calls

    def collect(self) -> list[Metric]:
        total = CounterMetricFamily("factwire_published_facts", "Facts that were appended.", value=self._calls.sum)
        calls = HistogramMetricFamily("factwire_append_group_facts", "Facts that one call appended.")
        calls.add_metric([], self._calls.buckets(), self._calls.sum)
        return [total, calls]


class Gauges(Collector):
    """Gauge with values that are read when it is collected."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...], read: Callable[[], Values]) -> None:
        self._name, self._help, self._labels, self._read = name, help, labels, read

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily(self._name, self._help, labels=self._labels)]

    def collect(self) -> list[Metric]:
        family = GaugeMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        return [family]
