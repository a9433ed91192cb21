"""OpenTelemetry traces: from the request that published a fact to its delivery, in any process.

A fact carries its trace in its meta, under `traceparent` (https://www.w3.org/TR/trace-context/). The publisher puts it
there: if the service added it, a retry would differ from the original request. The environment variables of
OpenTelemetry set the destination of the spans and the sampling.
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
DELIVERIES_MAX = 10_000  # beyond it the oldest are dropped: traces are best effort


class Tracing:
    """Spans of one process. They are sent in the background, and are lost if no collector accepts them."""

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
        """Span of one publish, a child of the span that the request names. An exception is recorded in it."""
        with self._tracer.start_as_current_span(
            "publish", context=context_of(traceparent), kind=SpanKind.SERVER, attributes={"factwire.facts": facts}
        ) as span:
            yield span

    def expect_delivery(self, position: int, traceparent: str) -> None:
        """Record that a fact with a trace is about to be delivered."""
        self._undelivered.append((position, traceparent, time.time_ns()))

    def delivered(self, through: int, streams: int) -> None:
        """Emit the spans of the facts up to a position: the fan-out has pushed them to all streams."""
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
        """Send the remaining spans. Blocks for at most the time limit of the exporter."""
        self._provider.shutdown()


def context_of(traceparent: str) -> Context | None:
    return propagate.extract({TRACEPARENT: traceparent}) if traceparent else None
