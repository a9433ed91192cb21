"""Publishing: the route, and a shortcut past ASGI to the same for requests that have arrived whole."""

from http import HTTPStatus

from msgspec import UNSET
from starlette.requests import Request

from factwire.api.http.authorization import Rule, check_publishable, principal_of, restrict_condition
from factwire.api.http.context import Context, context_of
from factwire.api.http.direct_response import JsonAnswer
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.models import PublishBody, PublishResult, condition_from, facts_from
from factwire.api.http.publish_response import answer_publish
from factwire.api.http.query_parameters import parameters_of
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import PUBLISH_PROBLEMS, operation
from factwire.domain.condition import Condition
from factwire.domain.fact import NewFact
from factwire.domain.principal import Principal

router = new_router("facts")

PUBLISH = Decoder(PublishBody)


@router.post(
    "/v1/facts",
    **operation(
        "publish",
        "Publish facts together, or none of them.",
        rule=Rule.PUBLISH,
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
    facts, condition = parse_publish(context, principal_of(request), await context.bodies.read_json(request))
    return await answer_publish(request, facts, condition)


def parse_publish(context: Context, principal: Principal, raw: bytes) -> tuple[list[NewFact], Condition | None]:
    """What a body wants published. A condition looks at what its author may read. Raises FactwireError."""
    body, payloads = PUBLISH.decode(raw)
    facts = facts_from(body, payloads, context.limits)
    check_publishable(principal, facts)
    if body.condition is None or body.condition is UNSET:
        return facts, None
    return facts, restrict_condition(principal, condition_from(body.condition))
