"""Health: liveness, readiness and Prometheus metrics of the process."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule
from factwire.api.http.context import context_of
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import operation

router = new_router("operations")


class Liveness(msgspec.Struct):
    """Liveness: the process answers requests."""

    status: str = "alive"


class Readiness(msgspec.Struct):
    """Readiness: `ready` is true if requests should be sent to this process.

    `database` is reported, but does not affect `ready`: it is `starting` before the first check, `reachable`, `standby`
    if it serves history and streams only, or `unreachable`. Otherwise one short failure of the database would take
    every process out of rotation and end all streams at the ingress.
    """

    ready: bool
    draining: bool
    schema: str
    database: str


@router.get(
    "/livez",
    **operation(
        "livez",
        "Whether the process is alive.",
        description="It does not ask the database.",
        rule=Rule.OPEN,
        result=Liveness,
        result_example="livez",
    ),
)
async def livez(request: Request) -> Response:
    return Response(msgspec.json.encode(Liveness()), 200, media_type="application/json")


@router.get(
    "/readyz",
    **operation(
        "readyz",
        "Whether requests should be sent here.",
        description=(
            "A service that drains, or whose database has no current schema, is not ready. An unreachable "
            "database does not change it: all processes would leave at once."
        ),
        rule=Rule.OPEN,
        result=Readiness,
        result_example="readyz",
        other_results={503: "Not ready: draining, or the schema was not seen yet."},
    ),
)
async def readyz(request: Request) -> Response:
    context = context_of(request)
    readiness = Readiness(
        ready=context.schema_seen and not context.tail.drain.begun,
        draining=context.tail.drain.begun,
        schema="current" if context.schema_seen else "not seen yet",
        database=context.database_state,
    )
    return Response(msgspec.json.encode(readiness), 200 if readiness.ready else 503, media_type="application/json")


@router.get(
    "/metrics",
    **operation(
        "metrics",
        "Metrics of the process in the format of Prometheus.",
        description="Each process has its own.",
        rule=Rule.OPEN,
        result=str,
        result_example="metrics",
        media_type="text/plain",
    ),
)
async def metrics(request: Request) -> Response:
    body, media_type = context_of(request).metrics.render()
    return Response(body, 200, {"content-type": media_type})
