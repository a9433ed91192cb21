"""Traces by OpenTelemetry: from the request that published a fact to its delivery, wherever that happens.

A fact carries its trace in its meta, under `traceparent` (https://www.w3.org/TR/trace-context/): the publisher puts it
there, since what the service added would make a retry differ from its original. Where spans go and how many are kept
is set by the variables of OpenTelemetry itself.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

TRACEPARENT = "traceparent"
DELIVERIES_MAX = 10_000  # beyond it the oldest are forgotten: a trace is no promise


class Tracing:
    """The spans of one process. They are sent in the background, and lost where nobody takes them."""

    def __init__(self, *, version: str) -> None:
        resource = Resource.create({SERVICE_VERSION: version})
        if resource.attributes[SERVICE_NAME] == "unknown_service":
            resource = resource.merge(Resource({SERVICE_NAME: "factwire"}))
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("factwire", version)
        self._undelivered: deque[tuple[int, str, int]] = deque(maxlen=DELIVERIES_MAX)

    @contextmanager
    def publishing(self, traceparent: str, facts: int) -> Iterator[trace.Span]:
        """The span of one publish, below the one that its request names. An exception is noted in it."""
        with self._tracer.start_as_current_span(
            "publish", context=context_of(traceparent), kind=SpanKind.SERVER, attributes={"factwire.facts": facts}
        ) as span:
            yield span

    def expect_delivery(self, position: int, traceparent: str) -> None:
        """A fact that carries a trace is about to be delivered."""
        self._undelivered.append((position, traceparent, time.time_ns()))

    def delivered(self, through: int, streams: int) -> None:
        """Every stream that is pushed to has got what it was to get, up to a position."""
        while self._undelivered and self._undelivered[0][0] <= through:
            position, traceparent, seen_at = self._undelivered.popleft()
            self._tracer.start_span(
                "deliver",
                context=context_of(traceparent),
                kind=SpanKind.PRODUCER,
                start_time=seen_at,
                attributes={"factwire.position": position, "factwire.streams": streams},
            ).end()

    def close(self) -> None:
        """Send what is left. It blocks, for as long as the exporter's time limit."""
        self._provider.shutdown()


def context_of(traceparent: str) -> Context | None:
    return propagate.extract({TRACEPARENT: traceparent}) if traceparent else None
