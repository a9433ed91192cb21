"""Traces that facts carry in their meta, from their publisher to those who follow."""

from typing import TYPE_CHECKING

from app.domain.fact import meta_tag
from app.domain.position import Position
from app.stream.ring import Segment

if TYPE_CHECKING:
    from app.telemetry.tracing import Tracing

TAG = meta_tag("traceparent", "")


def note_traces(tracing: "Tracing", segment: Segment) -> None:
    """Facts came into the ring: those that carry a trace are about to be delivered."""
    for position, fact in segment.behind(Position(segment.first - 1)):
        for tag in fact.tags:
            if tag.startswith(TAG):
                tracing.seen(position, tag.removeprefix(TAG))
