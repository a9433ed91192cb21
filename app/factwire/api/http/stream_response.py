"""Stream response: opens a stream at its start position, or refuses it."""

from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import reader_of
from factwire.api.http.context import Context, context_of
from factwire.api.http.query_parameters import Parameters
from factwire.api.http.rate_limits import counted_stream, has_seat
from factwire.api.http.representation import ENVELOPE, Representation
from factwire.api.http.reserved_memory import ReservedResponse
from factwire.api.http.sse import stream_response
from factwire.api.http.stream_options import LAST_EVENT_ID, follow_options
from factwire.domain.errors import MalformedParameter, RateLimited, StandbyBehind, Unavailable
from factwire.domain.position import Bound, parse_bound
from factwire.domain.principal import Reader
from factwire.domain.query import Query
from factwire.follow.streams import StreamRequest
from factwire.store.log import LogState

EPOCH_SECONDS = 1.0


async def answer_stream(
    request: Request, parameters: Parameters, query: Query, representation: Representation = ENVELOPE
) -> Response:
    """Open a stream, or refuse it before its first byte."""
    context = context_of(request)
    settings = context.settings
    options = follow_options(parameters, heartbeat_seconds=settings.heartbeat_seconds)
    after = last_event_id(request, parameters) or options.after
    tenant = context.tenants.tenant_of(request.scope)
    try:
        reader = reader_of(request, context)
        with context.queries.held(tenant, query.bytes):
            state = await state_if_open(context, after, reader) if has_seat(request.scope) else None
    except (Unavailable, RateLimited, StandbyBehind):
        state = None
    if state is None:
        return context.returns.later()
    following = StreamRequest(
        query=reader.sees(query),
        after=state.cursor,
        head=state.head,
        typed=options.typed,
        heartbeat_seconds=options.heartbeat_seconds,
        reader=reader,
        tenant=tenant,
    )
    answer = stream_response(
        context.streams,
        following,
        retry_seconds=settings.retry_seconds,
        send_seconds=settings.stream_send_seconds,
        longest_seconds=settings.stream_age_seconds_max,
        representation=representation,
    )
    if following.query.bytes:
        answer = ReservedResponse(answer, context.queries, tenant, following.query.bytes)
    return counted_stream(request.scope, answer, context.returns.later)


async def state_if_open(context: Context, after: Bound, reader: Reader) -> LogState | None:
    """Log state at the start of the stream, or None while it cannot open: draining, or too many streams.

    Raises Unavailable, StandbyBehind, and the cursor errors of a stream that cannot begin at `after`.
    """
    await context.streams.admission.wait_turn()
    if not context.streams.admits():
        return None
    state = await context.log_state.locate(after, reader.readable)
    if not context.streams.admits():
        return None  # other streams were admitted meanwhile
    current = context.tail.epoch == state.epoch or await context.tail.reach_epoch(state.epoch, seconds=EPOCH_SECONDS)
    return state if current else None


def last_event_id(request: Request, parameters: Parameters) -> Bound | None:
    """Cursor of a client that reconnects to the same URL: it takes precedence over `after`.

    EventSource sends it as a header; clients that cannot do so send it as a parameter (event-source-polyfill:
    `lastEventId`).
    """
    given = request.headers.get("last-event-id", "").strip()
    try:
        if given:
            return parse_bound(given)
    except ValueError as error:
        raise MalformedParameter("Last-Event-ID", str(error)) from None
    return parameters.optional_bound(LAST_EVENT_ID)
