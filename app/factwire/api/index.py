"""Index of the operations, and explanations of the problems, for people."""

import re
from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire import __version__
from factwire.api.http.authorization import Rule
from factwire.api.http.compression import encoded_response
from factwire.api.http.problems import HELP
from factwire.api.http.routing import RULE, PlainRoute, new_router
from factwire.api.openapi.operation import operation
from factwire.domain.errors import PathNotFound
from factwire.paths import resource_path

router = new_router("operations")

SECTION = re.compile(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")


class OperationSummary(msgspec.Struct):
    """One operation of the service."""

    method: str
    path: str
    summary: str


class Index(msgspec.Struct):
    """Name, version and operations of the service."""

    service: str
    version: str
    documentation: str
    openapi: str
    operations: list[OperationSummary]


@router.get(
    "/v1",
    **operation(
        "get_index",
        "What there is.",
        description="The name and version of the service, where its documentation is, and all operations.",
        rule=Rule.OPEN,
        result=Index,
        result_example="index",
    ),
)
async def get_index(request: Request) -> Response:
    operations = [
        OperationSummary(method, route.path, route.summary or "")
        for route in request.app.routes
        if isinstance(route, PlainRoute) and route.include_in_schema
        for method in sorted(route.methods or ())
    ]
    index = Index("factwire", __version__, "/docs", "/openapi.json", operations)
    return await encoded_response(request, msgspec.json.encode(index))


@router.get(HELP, include_in_schema=False, openapi_extra={RULE: Rule.OPEN})
async def list_problems(request: Request) -> Response:
    """Paths of the explanations of all problems, one in each line."""
    lines = "".join([f"{HELP}{code}\n" for code in sorted(explanations())])
    return await encoded_response(request, lines.encode(), media_type="text/plain; charset=utf-8")


@router.get(f"{HELP}{{code}}", include_in_schema=False, openapi_extra={RULE: Rule.OPEN})
async def explain_problem(request: Request) -> Response:
    """The section of docs/problems.md about a problem, as plain text."""
    code = request.path_params["code"]
    if code not in explanations():
        raise PathNotFound(f"There is no problem {code[:100]}.")
    return await encoded_response(request, explanations()[code], media_type="text/plain; charset=utf-8")


@cache
def explanations() -> dict[str, bytes]:
    """Explanation of each problem by its code. The targets of links are left out: they lead to other pages."""
    text = (resource_path("docs") / "problems.md").read_text(encoding="utf-8")
    return {code: plain_text(code, section).encode() for code, section in SECTION.findall(text)}


def plain_text(code: str, section: str) -> str:
    words = LINK.sub(r"\1", section).strip()
    return f"{code}\n\n{words}\n"
