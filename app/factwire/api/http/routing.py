"""Routing: plain routes, which get the request as it arrives and return the response as it is sent.

FastAPI declares them, so that the OpenAPI document has one source, but its dependency solving and response
serialisation are left out: bodies are decoded into the structs of `models`, and history is ready bytes already.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from factwire.api.http.authorization import Rule, authorize
from factwire.api.http.context import Context, context_of
from factwire.api.http.deprecation import Deprecation
from factwire.api.http.direct_response import ADDED
from factwire.api.http.problems import answer_http_exception, answer_unexpected, problem_response
from factwire.api.http.stream_options import WITHOUT_HEAD
from factwire.domain.errors import FactwireError

RULE = "x-factwire-access"
Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class PlainRoute(APIRoute):
    """Route with its endpoint as the handler, for requests that its rule admits.

    If the declaration of its operation has a `deprecation`, all answers announce it.
    """

    @property
    def answering(self) -> Endpoint:
        """The endpoint, with the headers of a deprecated operation."""
        deprecation: Deprecation | None = getattr(self.openapi_extra, "deprecation", None)
        return self.endpoint if deprecation is None else announcing(deprecation, self.endpoint)

    @property
    def rule(self) -> Rule:
        return Rule((self.openapi_extra or {})[RULE])

    def get_route_handler(self) -> Callable[[Request], Any]:
        endpoint, rule = self.answering, self.rule

        async def handle(request: Request) -> ASGIApp:
            await authorize(context_of(request), request.scope, rule)
            return await endpoint(request)

        return handle


class DirectRouting:
    """Router that hands requests for plain routes without path parameters to their handlers, others to FastAPI.

    In the framework a request passes its middleware, a search through the routes and two stacks of context managers,
    which together cost more than publishing a fact.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._context: Context = app.state.context
        self._endpoints: dict[tuple[str, str], tuple[Endpoint, Rule]] = {
            (method, route.path): (route.answering, route.rule)
            for route in app.routes
            if isinstance(route, PlainRoute) and not route.param_convertors
            for method in route.methods or ()
        }
        self._paths = frozenset(path for _, path in self._endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] not in WITHOUT_HEAD:
            scope = {**scope, "method": "GET"}  # the server knows the method and sends no body
        found = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            if scope["type"] == "http" and scope["path"] in self._paths:
                await self._refuse_method(scope, receive, send)  # a path with a parameter may match it as well
            else:
                await self._app(scope, receive, send)
            return
        endpoint, rule = found
        scope["app"] = self._app
        request = Request(scope, receive)
        try:
            await authorize(self._context, scope, rule)
            response = await endpoint(request)
        except FactwireError as error:
            response = problem_response(error)
        except Exception as error:
            await (await answer_unexpected(request, error))(scope, receive, send)
            raise
        await response(scope, receive, send)

    async def _refuse_method(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        refused = HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
        await (await answer_http_exception(Request(scope), refused))(scope, receive, send)


def announcing(deprecation: Deprecation, endpoint: Endpoint) -> Endpoint:
    """Endpoint that adds the headers of a deprecated operation to its answers and its refusals."""

    async def announce(request: Request) -> ASGIApp:
        state = request.scope["state"]
        state[ADDED] = (*state.get(ADDED, ()), *deprecation.headers)
        return await endpoint(request)

    return announce


def new_router(tag: str) -> APIRouter:
    return APIRouter(route_class=PlainRoute, tags=[tag])
