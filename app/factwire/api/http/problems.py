"""Problem details (RFC 9457) for every error. One table maps errors to status codes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from factwire.api.http.stream_options import WITHOUT_HEAD
from factwire.domain import errors
from factwire.domain.errors import FactwireError, FieldError
from factwire.domain.subscription_errors import EarlierOpen, LeaseLost, SubscriptionDiffers, SubscriptionNotFound

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
PROBLEM = "factwire.problem"
TYPE_PREFIX = "urn:factwire:problem:"
HELP = "/problems/"  # the service explains each problem there
RETRY_AFTER_SECONDS = "1"
TEXT_MAX = 1000
ERRORS_MAX = 100
ERRORS_BYTES_MAX = 8 * 1024

STATUSES: Mapping[type[FactwireError], int] = {
    errors.MalformedJson: 400,
    errors.MalformedBody: 400,
    errors.MalformedParameter: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.CrossOrigin: 403,
    errors.FactNotFound: 404,
    errors.KeyNotFound: 404,
    errors.NamespaceNotFound: 404,
    errors.TypeNotFound: 404,
    errors.DataSubjectNotFound: 404,
    SubscriptionNotFound: 404,
    errors.PathNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.FactIdConflict: 409,
    errors.ConditionFailed: 409,
    errors.DataSubjectErased: 409,
    errors.FactReserved: 409,
    LeaseLost: 409,
    EarlierOpen: 409,
    SubscriptionDiffers: 409,
    errors.CursorForked: 409,
    errors.CursorAhead: 409,
    errors.CursorExpired: 410,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnsupportedContentCoding: 415,
    errors.WrongHost: 421,
    errors.InvalidRequest: 422,
    errors.LimitExceeded: 422,
    errors.UnknownParameter: 422,
    errors.ConditionTooExpensive: 422,
    errors.RateLimited: 429,
    errors.EncryptionNotConfigured: 422,
    errors.InternalError: 500,
    errors.Unavailable: 503,
    errors.OutcomeUnknown: 503,
    errors.KeyUnavailable: 503,
    errors.HistoryForked: 503,
    errors.StandbyBehind: 503,
    errors.LogDamaged: 503,
}

HEADERS_TOO_LARGE = "headers-too-large"
SERVER_CODES = (HEADERS_TOO_LARGE, "malformed-request")  # of server/uvicorn_protocol, before there is a request

# After these errors the rest of the body is not read, so the connection cannot carry another request.
UNREAD_BODY = (errors.RequestTimeout,)


def type_uri(error: type[FactwireError]) -> str:
    return f"{TYPE_PREFIX}{error.code}"


def problem(error: FactwireError) -> dict[str, Any]:
    """Members of the problem that represents an error."""
    members: dict[str, Any] = {
        name: shortened(value) if isinstance(value, str) else value for name, value in error.members.items()
    }
    if "errors" in members:
        members["errors"] = plain_errors(members["errors"])
    kind = type(error)
    return {
        "type": type_uri(kind),
        "title": kind.title(),
        "status": STATUSES[kind],
        "detail": shortened(error.detail),
        "help": f"{HELP}{error.code}",
        **members,
    }


def plain_errors(fields: Sequence[FieldError]) -> list[dict[str, str]]:
    """First of the fields, as many as fit into a small problem."""
    errors: list[dict[str, str]] = []
    size = 0
    for field in fields[:ERRORS_MAX]:
        error = plain(field)
        size += len(msgspec.json.encode(error))
        if errors and size > ERRORS_BYTES_MAX:
            break
        errors.append(error)
    return errors


def plain(field: FieldError) -> dict[str, str]:
    """Field as it is sent. A pointer that is too long is cut to an object above its target."""
    members = {name: value for name, value in asdict(field).items() if value is not None}
    pointer: str = members.get("pointer", "")
    while len(pointer) > TEXT_MAX:
        pointer = pointer.rpartition("/")[0]
    return {name: pointer if name == "pointer" else shortened(value) for name, value in members.items()}


def shortened(text: str) -> str:
    """Text cut to TEXT_MAX characters: it may repeat a part of the request, which may have megabytes."""
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


class ProblemResponse(Response):
    """Response with a problem. It keeps the code in the scope, so that problems can be counted."""

    def __init__(self, code: str, body: bytes, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(body, status_code, headers, MEDIA_TYPE)
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})[PROBLEM] = self._code
        await super().__call__(scope, receive, send)


def problem_response(error: FactwireError, headers: Mapping[str, str] | None = None) -> Response:
    status = STATUSES[type(error)]
    extra = dict(headers or {})
    if status == 503:
        extra["retry-after"] = RETRY_AFTER_SECONDS
    if status == 401:
        extra["www-authenticate"] = "Bearer"
    if isinstance(error, errors.UnsupportedContentCoding):
        extra["accept-encoding"] = error.members["expected"]
    if isinstance(error, errors.RateLimited):
        extra["retry-after"] = str(error.retry_after_seconds)
    if isinstance(error, UNREAD_BODY):
        extra["connection"] = "close"
    return ProblemResponse(error.code, msgspec.json.encode(problem(error)), status, extra)


async def answer_factwire_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FactwireError)
    return problem_response(error)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Problem for a request that the router itself refuses; headers such as Allow are kept."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(sorted(methods_of(request)))
        detail = f"{request.url.path} takes {allowed}, not {request.method}."
        return problem_response(errors.MethodNotAllowed(detail), {"allow": allowed})
    if error.status_code == 404:
        detail = f"There is no {request.url.path}. GET /v1 lists the paths."
        return problem_response(errors.PathNotFound(detail), error.headers)
    return problem_response(errors.InternalError("The request could not be handled."), error.headers)


def methods_of(request: Request) -> set[str]:
    """Methods of all routes that have the path; the router itself reports those of the first route only.

    A route with a parameter that the path would fit into is left out if others have exactly this path.
    """
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    exact = [route for route in matching if getattr(route, "path", None) == request.url.path]
    matching = exact or matching
    methods = {method for route in matching for method in getattr(route, "methods", None) or ()}
    return methods | ({"HEAD"} if "GET" in methods and request.url.path not in WITHOUT_HEAD else set())


async def answer_unexpected(request: Request, error: Exception) -> Response:
    """Problem for an unknown error, which the server logs; its text is never sent."""
    return problem_response(errors.InternalError("The service failed; the cause is in its log."))
