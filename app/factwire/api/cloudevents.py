"""CloudEvents: publish CloudEvents as facts, and export and follow facts as CloudEvents."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

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
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.model_conversion import build_facts
from factwire.api.http.models import PublishResult
from factwire.api.http.publish_response import answer_publish
from factwire.api.http.query_parameters import FILTERS, parameters_of
from factwire.api.http.routing import new_router
from factwire.api.http.sse import MEDIA_TYPE
from factwire.api.http.stream_options import OPTIONS, TICKET
from factwire.api.http.stream_response import answer_stream
from factwire.api.openapi.operation import READ_PROBLEMS, WRITE_PROBLEMS, operation
from factwire.domain.fact import NewFact
from factwire.publish.intake import admit

router = new_router("cloudevents")

ONE = Decoder(Event)
SEVERAL = Decoder(list[Event])


@router.post(
    "/v1/facts/cloudevents",
    **operation(
        "publish_events",
        "Publish CloudEvents as facts: one, or several together or none of them.",
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
async def publish_events(request: Request) -> JsonAnswer:
    context = context_of(request)
    parameters_of(request)
    media_type = check_media_type(request, EVENT, BATCH)
    facts_of = facts_of_batch if media_type == BATCH else facts_of_one
    facts = facts_of(context, await context.bodies.read(request))
    # An event may have no namespace: the pointer then refers to the event.
    return await answer_publish(
        request, admit(principal_of(request), facts, pointer="/{}" if media_type == BATCH else "")
    )


@router.get(
    "/v1/facts/cloudevents",
    **operation(
        "export_events",
        "The same as export, each fact as a CloudEvent.",
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
    return await answer_stream(request, parameters, parameters.query(), CLOUDEVENTS)


def facts_of_one(context: Context, raw: bytes) -> list[NewFact]:
    event, payloads = ONE.decode(raw)
    return [fact_from_event(event, payloads, context.limits, namespace=context.settings.cloudevents_namespace)]


def facts_of_batch(context: Context, raw: bytes) -> list[NewFact]:
    events, payloads = SEVERAL.decode(raw)
    make = partial(
        fact_from_event,
        payloads=payloads,
        limits=context.limits,
        namespace=context.settings.cloudevents_namespace,
    )
    return build_facts(events, make, context.limits, pointer="")
