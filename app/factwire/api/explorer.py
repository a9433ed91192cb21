"""Explorer page, its icon, security.txt (RFC 9116) and llms.txt. None contains any data of the log."""

import hashlib
import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from factwire import __version__
from factwire.api.http.authorization import Rule
from factwire.api.http.context import context_of
from factwire.api.http.routing import RULE, new_router
from factwire.domain.errors import PathNotFound
from factwire.settings import Settings

router = new_router("explorer")

PAGE = "index.html"
SECURITY_DAYS = 180
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "link": '</openapi.json>; rel="service-desc", </docs>; rel="service-doc"',
}
EXTRA = {RULE: Rule.OPEN}


class Surroundings(msgspec.Struct):
    """Settings of the service that the page needs before its first request."""

    version: str
    asks_for_key: bool
    publishes: bool


class Asset(NamedTuple):
    body: bytes
    media_type: str
    etag: str


@router.get("/", include_in_schema=False, openapi_extra=EXTRA)
async def page(request: Request) -> Response:
    return answer(request, PAGE)


@router.get("/ui/surroundings.json", include_in_schema=False, openapi_extra=EXTRA)
async def surroundings(request: Request) -> Response:
    settings = context_of(request).settings
    surroundings = Surroundings(__version__, asks_for_key=not settings.is_open, publishes=is_for_development(settings))
    return Response(msgspec.json.encode(surroundings), 200, {"cache-control": "no-store"}, "application/json")


@router.get("/ui/{path:path}", include_in_schema=False, openapi_extra=EXTRA)
async def asset(request: Request) -> Response:
    return answer(request, request.path_params["path"])


@router.get("/favicon.ico", include_in_schema=False, openapi_extra=EXTRA)
async def favicon(request: Request) -> Response:
    return answer(request, "icon.svg")


@router.get("/llms.txt", include_in_schema=False, openapi_extra=EXTRA)
async def guide(request: Request) -> Response:
    """Short guide for programs that write programs (llmstxt.org)."""
    return answer(request, "llms.txt")


@router.get("/.well-known/security.txt", include_in_schema=False, openapi_extra=EXTRA)
async def security(request: Request) -> Response:
    """Contact for vulnerability reports (RFC 9116), which only the operator of this service knows."""
    contact = context_of(request).settings.security_contact
    if contact is None:
        raise PathNotFound("FACTWIRE_SECURITY_CONTACT is not set.")
    expires = (datetime.now(UTC) + timedelta(days=SECURITY_DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    return PlainTextResponse(f"Contact: {contact}\nExpires: {expires.isoformat().replace('+00:00', 'Z')}\n")


def is_for_development(settings: Settings) -> bool:
    """True if only the same machine can reach the service, so that publishing from the page does no harm."""
    return settings.is_open_implicitly


def answer(request: Request, path: str) -> Response:
    found = assets().get(path)
    if found is None:
        raise PathNotFound(f"There is no {request.url.path}.")
    headers = {**HEADERS, "etag": found.etag}
    if request.headers.get("if-none-match") == found.etag:
        return Response(None, 304, headers)
    return Response(found.body, 200, headers, found.media_type)


@lru_cache(1)
def assets() -> Mapping[str, Asset]:
    """The few files of the page, by path. Any other path does not exist."""
    found: dict[str, Asset] = {}
    waiting = [("", files("factwire").joinpath("ui"))]
    while waiting:
        path, place = waiting.pop()
        if place.is_dir():
            waiting += [(f"{path}/{child.name}".lstrip("/"), child) for child in place.iterdir()]
        else:
            body = place.read_bytes()
            media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
            media_type += "; charset=utf-8" if media_type == "text/plain" else ""
            found[path] = Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found
