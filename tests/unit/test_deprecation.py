"""A deprecated operation: every answer announces it, and so does the OpenAPI document."""

from datetime import date
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule
from factwire.api.http.deprecation import Deprecation
from factwire.api.http.direct_response import ADDED
from factwire.api.http.models import Redaction
from factwire.api.http.routing import PlainRoute, new_router
from factwire.api.openapi.operation import operation
from factwire.domain.errors import PathNotFound

DEPRECATION = Deprecation(date(2027, 1, 31), date(2028, 2, 29), "/docs/next.md")
HEADERS = (
    (b"deprecation", b"@1801353600"),
    (b"sunset", b"Tue, 29 Feb 2028 00:00:00 GMT"),
    (b"link", b'</docs/next.md>; rel="deprecation"; type="text/markdown"'),
)


async def answer(request: Request) -> Response:
    return Response()


async def refuse(request: Request) -> Response:
    raise PathNotFound("There is nothing.")


def route_of(endpoint: Any, **declared: Any) -> PlainRoute:
    router = new_router("facts")
    about = operation("old", "Old.", description="Old.", rule=Rule.OPEN, result=Redaction, **declared)
    router.get("/v1/old", **about)(endpoint)
    [route] = router.routes
    assert isinstance(route, PlainRoute)
    return route


def new_request() -> Request:
    return Request(
        {"type": "http", "method": "GET", "path": "/v1/old", "headers": [], "state": {ADDED: ((b"a", b"b"),)}}
    )


async def test_a_deprecated_operation_announces_its_end() -> None:
    request = new_request()
    await route_of(answer, deprecation=DEPRECATION).answering(request)
    assert tuple(request.scope["state"][ADDED]) == ((b"a", b"b"), *HEADERS)


async def test_refusals_of_a_deprecated_operation_announce_it_too() -> None:
    request = new_request()
    with pytest.raises(PathNotFound):
        await route_of(refuse, deprecation=DEPRECATION).answering(request)
    assert tuple(request.scope["state"][ADDED])[1:] == HEADERS


def test_the_document_says_that_an_operation_is_deprecated() -> None:
    assert (route_of(answer, deprecation=DEPRECATION).openapi_extra or {})["deprecated"] is True


def test_any_other_operation_is_called_as_it_is() -> None:
    route = route_of(answer)
    assert route.answering is answer
    assert "deprecated" not in (route.openapi_extra or {})
