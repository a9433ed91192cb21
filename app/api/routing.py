"""Routes that get the request as it is and return the response as it goes out.

FastAPI declares them, so that the OpenAPI document has one source, but its dependency solving and response
serialisation are left out: bodies are decoded by the structs of `wire`, and history is ready bytes already.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

Endpoint = Callable[[Request], Awaitable[Response]]


class PlainRoute(APIRoute):
    """A route whose endpoint is the handler."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        endpoint: Endpoint = self.endpoint
        return endpoint


def new_router(tag: str) -> APIRouter:
    return APIRouter(route_class=PlainRoute, tags=[tag])
