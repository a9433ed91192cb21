"""Publishing: the route, and the parsing it shares with the shortcut past ASGI for requests that have arrived whole."""

from dataclasses import replace
from http import HTTPStatus

from msgspec import UNSET
from starlette.requests import Request

from factwire.api.http.acknowledging import acknowledges_from
from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.condition_conversion import condition_from
from factwire.api.http.context import Context, context_of
from factwire.api.http.direct_response import JsonAnswer
from factwire.api.http.idempotency_key import NAME as IDEMPOTENCY_KEY
from factwire.api.http.idempotency_key import give_ids, idempotency_key_of
from factwire.api.http.json_decoding import Decoder, Payloads
from factwire.api.http.model_conversion import facts_from
from factwire.api.http.models import PublishBody, PublishResult
from factwire.api.http.publish_response import answer_publish
from factwire.api.http.query_parameters import parameters_of
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import PUBLISH_PROBLEMS, operation
from factwire.domain.principal import Principal
from factwire.publish.intake import Admitted, admit, under_condition

router = new_router("facts")

PUBLISH = Decoder(PublishBody)


@router.post(
    "/v1/facts",
    **operation(
        "publish",
        "Publish facts together, or none of them.",
        description=(
            "All facts of a request get consecutive positions in their order, or none is written. With ids, "
            "or with an Idempotency-Key, the request may be repeated: the answer is then 200 with the "
            "original positions. On a condition, the facts are written only if what a decision was based on "
            "still holds. With `acknowledge`, facts that a worker has claimed are acknowledged in the same "
            "transaction: both happen, or neither."
        ),
        rule=Rule.PUBLISH,
        header_parameters=(IDEMPOTENCY_KEY,),
        body=PublishBody,
        body_example="publish",
        result=PublishResult,
        result_example="published",
        status=HTTPStatus.CREATED,
        other_results={200: "All ids are known with equal content: the original positions."},
        problems=PUBLISH_PROBLEMS,
    ),
)
async def publish(request: Request) -> JsonAnswer:
    context = context_of(request)
    parameters_of(request)
    key = idempotency_key_of(request)
    raw = await context.bodies.read_json(request)
    if key is None:
        return await answer_publish(request, parse_publish(context, principal_of(request), raw))
    body, payloads = PUBLISH.decode(raw)
    keyed = await give_ids(request, body.facts, key)
    admitted = admit_publish(context, principal_of(request), body, payloads)
    return await answer_publish(request, replace(admitted, next_id=keyed.next_id))


def parse_publish(context: Context, principal: Principal, raw: bytes) -> Admitted:
    """Decode a body and check the grants of the principal. Raises FactwireError."""
    return admit_publish(context, principal, *PUBLISH.decode(raw))


def admit_publish(context: Context, principal: Principal, body: PublishBody, payloads: Payloads) -> Admitted:
    facts = facts_from(body, payloads, context.limits)
    admitted = admit(principal, facts)
    if body.acknowledge is not UNSET:
        admitted = replace(admitted, acknowledges=acknowledges_from(body.acknowledge))
    if body.condition is UNSET:
        return admitted
    return under_condition(principal, admitted, condition_from(body.condition, context.limits))
