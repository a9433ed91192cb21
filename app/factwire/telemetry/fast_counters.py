"""Counters and histograms without locks, for events of every request: prometheus_client locks at each update."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class LabelledCounter(Collector):
    """Counter with one label. Only the event loop updates and reads it, so it needs no lock."""

    def __init__(self, name: str, help: str, label: str) -> None:
        self._name, self._help, self._label = name, help, label
        self._counts: dict[str, int] = {}

    def expect(self, values: Iterable[str]) -> None:
        """Export these label values from the start, with a count of 0."""
        for value in values:
            self._counts.setdefault(value, 0)

    def count(self, value: str, more: int = 1) -> None:
        self._counts[value] = self._counts.get(value, 0) + more

    def collect(self) -> list[Metric]:
        family = CounterMetricFamily(self._name, self._help, labels=[self._label])
        for value, count in self._counts.items():
            family.add_metric([value], count)
        return [family]


class HistogramBuckets:
    """Buckets and sum of a histogram."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus expects them."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


class LabelledHistogram(Collector):
    """Histogram with one label, all values of which are known in advance."""

    def __init__(self, name: str, help: str, label: str, times: dict[str, HistogramBuckets]) -> None:
        self._name, self._help, self._label, self._times = name, help, label, times

    def collect(self) -> list[Metric]:
        family = HistogramMetricFamily(self._name, self._help, labels=[self._label])
        for value, times in self._times.items():
            family.add_metric([value], times.buckets(), times.sum)
        return [family]
