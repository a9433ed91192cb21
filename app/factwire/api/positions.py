"""Positions: the head of the log, and the last position published before a given time."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.compression import encoded_response
from factwire.api.http.context import context_of
from factwire.api.http.models import LogPosition
from factwire.api.http.query_parameters import parameters_of, parse_time
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import READ_PROBLEMS, operation
from factwire.domain.fact import utc
from factwire.store.log import read_position

router = new_router("facts")


@router.get(
    "/v1/position",
    **operation(
        "get_position",
        "The head of the log, or the position of the last fact published before a time.",
        description=(
            "The head is what a condition on everything so far needs, and `at` is where a consumer begins "
            "that wants what came after a moment."
        ),
        rule=Rule.READ,
        parameters=("at",),
        result=LogPosition,
        result_example="position",
        problems=READ_PROBLEMS,
    ),
)
async def get_position(request: Request) -> Response:
    parameters = parameters_of(request, "at")
    context = context_of(request)
    readable = principal_of(request).grants.readable
    time = parameters.get("at", parse_time, None) if "at" in parameters.values else None
    async with context.pools.read(context.tenants.tenant_of(request.scope)) as connection:
        state, published_at = await read_position(connection, time, readable)
    context.tail.refuse_fork()
    result = LogPosition(
        position=state.position,
        cursor=str(state.cursor),
        head=state.head,
        published_at=None if published_at is None else utc(published_at),
    )
    return await encoded_response(request, msgspec.json.encode(result))
