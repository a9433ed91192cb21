"""Export: the whole result up to the head, one fact per line. api/http/export_response streams it."""

from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule
from factwire.api.http.bodies import NDJSON
from factwire.api.http.export_response import EXPORT_PARAMETERS, answer_export
from factwire.api.http.models import Fact
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import READ_PROBLEMS, operation

router = new_router("facts")


@router.get(
    "/v1/facts/export",
    **operation(
        "export_facts",
        "The whole result up to the head, a fact a line. A failed export is cut, never ended cleanly.",
        description=(
            "Each line is a fact. The answer covers everything up to the head at its beginning, however long "
            "the log is. If it fails it is cut, so that a part is never taken for the whole. An import "
            "accepts the lines unchanged."
        ),
        rule=Rule.READ,
        parameters=EXPORT_PARAMETERS,
        result=Fact,
        result_example="facts",
        media_type=NDJSON,
        problems=READ_PROBLEMS,
    ),
)
async def export_facts(request: Request) -> Response:
    return await answer_export(request)
