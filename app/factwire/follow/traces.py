"""Traces that facts carry in their meta, from their publisher to the streams that follow."""

from typing import TYPE_CHECKING

from factwire.domain.fact import meta_tag
from factwire.domain.position import Position
from factwire.follow.ring import Segment

if TYPE_CHECKING:
    from factwire.telemetry.tracing import Tracing

TAG = meta_tag("traceparent", "")


def note_traces(tracing: "Tracing", segment: Segment) -> None:
    """Register the delivery of facts that are new in the ring and carry a trace: they are about to be delivered."""
    for position, fact in segment.behind(Position(segment.first - 1)):
        for tag in fact.tags:
            if tag.startswith(TAG):
                tracing.expect_delivery(position, tag.removeprefix(TAG))
