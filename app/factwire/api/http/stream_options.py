"""Options of a stream, for requests that open it or get a ticket for it."""

from dataclasses import dataclass

from factwire.api.http.query_parameters import Parameters
from factwire.domain.position import Bound

LAST_EVENT_ID = "lastEventId"
OPTIONS = ("after", LAST_EVENT_ID, "heartbeat", "event")
TICKET = "ticket"
# EventSource can open these; it cannot send headers with credentials, and never reconnects after a 429 or a 503.
STREAMS = frozenset({"/v1/stream", "/v1/stream/cloudevents"})
# The length of these bodies is not known, and to find it out all of them would be read for nothing.
WITHOUT_HEAD = STREAMS | {"/v1/facts/export", "/v1/facts/cloudevents"}
HEARTBEAT_SECONDS_MIN, HEARTBEAT_SECONDS_MAX = 3, 60


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """Options of a stream, without its query."""

    after: Bound
    typed: bool
    heartbeat_seconds: float


def follow_options(parameters: Parameters, *, heartbeat_seconds: float) -> FollowOptions:
    """Options from the parameters of a request. Raises MalformedParameter and LimitExceeded."""
    return FollowOptions(
        after=parameters.bound("after", "start"),
        typed=parameters.choice("event", ("type", ""), "") == "type",
        heartbeat_seconds=parameters.number(
            "heartbeat", default=heartbeat_seconds, least=HEARTBEAT_SECONDS_MIN, most=HEARTBEAT_SECONDS_MAX
        ),
    )
