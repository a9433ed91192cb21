"""CloudEvents: publish them as facts, and export and follow facts as CloudEvents."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from factwire.api.admitting import Rule, check_publishable, principal_of
from factwire.api.answering import answer_publish
from factwire.api.asgi import JsonAnswer
from factwire.api.bodies import NDJSON, check_media_type
from factwire.api.context import Context, context_of
from factwire.api.decoding import Decoder
from factwire.api.documenting import READ_PROBLEMS, WRITE_PROBLEMS, operation
from factwire.api.event_format import BATCH, EVENT, CloudEvent, Event, events_from, fact_from_event, lines_as_events
from factwire.api.exporting import EXPORT_PARAMETERS, answer_export
from factwire.api.following import OPTIONS, TICKET
from factwire.api.opening import answer_stream
from factwire.api.parameters import FILTERS, parameters_of
from factwire.api.routing import new_router
from factwire.api.sse import MEDIA_TYPE
from factwire.api.wire import PublishResult, all_facts
from factwire.domain.fact import NewFact

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
    # An event may lack its namespace: the pointer leads to the event.
    check_publishable(principal_of(request), facts, pointer="/{}" if media_type == BATCH else "")
    return await answer_publish(request, facts)


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
    return await answer_export(request, respell=lines_as_events)


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
    return await answer_stream(request, parameters, parameters.query(), respell=events_from)


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
    return all_facts(events, make, context.limits, pointer="")
