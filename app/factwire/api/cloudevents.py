"""CloudEvents: publish CloudEvents as facts, and export and follow facts as CloudEvents."""

from functools import partial
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.cloudevents_binary import PREFIX, event_of, is_binary
from factwire.api.cloudevents_mapping import (
    BATCH,
    CLOUDEVENTS,
    EVENT,
    CloudEvent,
    Event,
    fact_from_event,
)
from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.bodies import NDJSON, check_media_type
from factwire.api.http.context import Context, context_of
from factwire.api.http.direct_response import JsonAnswer
from factwire.api.http.export_response import EXPORT_PARAMETERS, answer_export
from factwire.api.http.idempotency_key import refuse_idempotency_key
from factwire.api.http.json_decoding import VERBATIM, Decoder
from factwire.api.http.model_conversion import build_facts
from factwire.api.http.models import PublishResult
from factwire.api.http.problems import problem_response
from factwire.api.http.publish_response import answer_publish
from factwire.api.http.query_parameters import FILTERS, parameters_of
from factwire.api.http.routing import RULE, new_router
from factwire.api.http.sse import MEDIA_TYPE
from factwire.api.http.stream_options import OPTIONS, TICKET
from factwire.api.http.stream_response import answer_stream
from factwire.api.openapi.operation import READ_PROBLEMS, WRITE_PROBLEMS, operation
from factwire.domain.errors import FieldError, InvalidRequest, LimitExceeded, MethodNotAllowed
from factwire.domain.fact import NewFact
from factwire.publish.intake import admit

router = new_router("cloudevents")

OR_BINARY = ", or in binary mode with the headers ce-specversion, ce-id, ce-source and ce-type"
ONE = Decoder(Event)
SEVERAL = Decoder(list[Event])


@router.post(
    "/v1/facts/cloudevents",
    **operation(
        "publish_events",
        "Publish CloudEvents as facts: one, or several together or none of them.",
        description=(
            "Structured, batched or binary mode. The answers are those of publish. A repeated event is known "
            "by its source, namespace and id."
        ),
        rule=Rule.PUBLISH,
        body=CloudEvent,
        body_media_type=EVENT,
        body_example="new-event",
        several_media_type=BATCH,
        result=PublishResult,
        result_example="published",
        status=201,
        other_results={200: "All events are known with equal content: the original positions."},
        problems=WRITE_PROBLEMS,
    ),
)
async def publish_events(request: Request) -> Response:
    context = context_of(request)
    parameters_of(request)
    refuse_idempotency_key(request, "an event has an id of its own")
    if is_binary(request):
        facts = facts_of_binary(context, request, await context.bodies.read(request))
        return await answer_publish(request, admit(principal_of(request), facts, pointer=""))
    media_type = check_media_type(request, EVENT, BATCH, otherwise=OR_BINARY)
    raw = await context.bodies.read(request)
    if media_type == EVENT:
        return await answer_publish(request, admit(principal_of(request), facts_of_one(context, raw), pointer=""))
    facts = facts_of_batch(context, raw)
    if not facts:
        return await answer_nothing(request)
    # An event may have no namespace: the pointer then refers to the event.
    return await answer_publish(request, admit(principal_of(request), facts, pointer="/{}"))


@router.options("/v1/facts/cloudevents", include_in_schema=False, openapi_extra={RULE: Rule.OPEN})
async def validate_web_hook(request: Request) -> Response:
    """Validation handshake of a sender, before it delivers here (HTTP 1.1 Web Hooks for Events, section 4)."""
    sender, allowed = request.headers.get("webhook-request-origin", ""), context_of(request).settings.webhook_senders
    if not sender or not (sender in allowed or "*" in allowed):
        detail = "FACTWIRE_WEBHOOK_ORIGINS lists the senders of web hooks that may deliver here."
        return problem_response(MethodNotAllowed(detail), {"allow": "GET, POST"})
    rate = {"webhook-allowed-rate": "*"} if "webhook-request-rate" in request.headers else {}
    return Response(None, 200, {"allow": "POST", "webhook-allowed-origin": sender, **rate})


async def answer_nothing(request: Request) -> Response:
    """Answer to a batch without events, which is valid (JSON format 1.0.2, section 4.3): the head."""
    state = await context_of(request).log_state.locate("head")
    result = PublishResult(facts=[], position=state.position, cursor=str(state.cursor), published_at=None)
    return JsonAnswer(msgspec.json.encode(result), HTTPStatus.OK)


@router.get(
    "/v1/facts/cloudevents",
    **operation(
        "export_events",
        "The same as export, each fact as a CloudEvent.",
        description=(
            "Attributes that an event came with are restored; members of a fact without a counterpart are "
            "extensions that begin with `fact`."
        ),
        rule=Rule.READ,
        parameters=EXPORT_PARAMETERS,
        result=CloudEvent,
        result_example="events",
        media_type=NDJSON,
        problems=READ_PROBLEMS,
    ),
)
async def export_events(request: Request) -> Response:
    return await answer_export(request, CLOUDEVENTS)


@router.get(
    "/v1/stream/cloudevents",
    **operation(
        "follow_events",
        "The same as follow, each fact as a CloudEvent.",
        description="Cursors, `caught-up` and `position` are those of the stream of facts.",
        rule=Rule.READ,
        parameters=(*FILTERS, *OPTIONS, TICKET),
        header_parameters=("Last-Event-ID",),
        result=CloudEvent,
        result_example="event-stream",
        media_type=MEDIA_TYPE,
        problems=READ_PROBLEMS,
    ),
)
async def follow_events(request: Request) -> Response:
    parameters = parameters_of(request, *FILTERS, *OPTIONS, TICKET)
    return await answer_stream(request, parameters, parameters.query(context_of(request).limits), CLOUDEVENTS)


def facts_of_one(context: Context, raw: bytes) -> list[NewFact]:
    event, payloads = ONE.decode(raw)
    return [fact_from_event(event, payloads, context.limits, namespace=context.settings.cloudevents_namespace)]


def facts_of_binary(context: Context, request: Request, body: bytes) -> list[NewFact]:
    """The fact of an event in binary mode; errors name the headers."""
    event = event_of(request, body)
    check_headers(event, needs_namespace=context.settings.cloudevents_namespace is None)
    try:
        return [fact_from_event(event, VERBATIM, context.limits, namespace=context.settings.cloudevents_namespace)]
    except InvalidRequest as error:
        raise InvalidRequest([as_header(field) for field in error.members["errors"]]) from None
    except LimitExceeded as error:
        field = as_header(error.members["errors"][0])
        raise LimitExceeded(error.members["limit"], error.members["maximum"], field=field) from None


def check_headers(event: Event, *, needs_namespace: bool) -> None:
    """Raises InvalidRequest that names the headers of required attributes that are missing."""
    needed = ("id", "source", "type", *(("namespace",) if needs_namespace else ()))
    missing = [FieldError("expected this header", parameter=f"{PREFIX}{name}") for name in needed if name not in event]
    if missing:
        raise InvalidRequest(missing)


def as_header(field: FieldError) -> FieldError:
    """An error in an attribute, reported for its header; in the data, for the body."""
    name = (field.pointer or "").partition("/")[2].partition("/")[0]
    if name in ("", "data", "data_base64"):
        return FieldError(field.detail, pointer="")
    return FieldError(field.detail, parameter="content-type" if name == "datacontenttype" else f"{PREFIX}{name}")


def facts_of_batch(context: Context, raw: bytes) -> list[NewFact]:
    """The facts of a batch. An event that stands in it twice, as senders repeat them, is one."""
    events, payloads = SEVERAL.decode(raw)
    if not events:
        return []
    make = partial(
        fact_from_event,
        payloads=payloads,
        limits=context.limits,
        namespace=context.settings.cloudevents_namespace,
    )
    return build_facts(events, make, context.limits, pointer="", merges_equal=True)
