"""Content coding of responses: zstd or gzip if the client accepts it, with a strong ETag per representation."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from hashlib import sha256
from zlib import MAX_WBITS, compressobj

import zstandard
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from factwire.api.http.context import context_of
from factwire.api.http.reserved_memory import ReservedResponse

CODINGS = ("zstd", "gzip")
PLAIN_BYTES_MAX = 1024  # smaller bodies are sent as they are
SMALL_BYTES_MAX = 64 * 1024  # fits into the buffer of a connection anyway
STREAMED_BYTES = 3 * 1024 * 1024  # a page, the next page, and their compressed output
IN_LOOP_BYTES_MAX = 32 * 1024  # larger bodies are compressed in a thread
WEIGHT = re.compile(r"(?:0(?:\.[0-9]*)?|1(?:\.0*)?)")
HEADERS = {"cache-control": "private, no-cache", "vary": "accept-encoding", "x-content-type-options": "nosniff"}


def chosen_coding(request: Request) -> str | None:
    """Best coding that the client accepts (RFC 9110, section 12.5.3); None if it accepts neither."""
    weights: dict[str, float] = {}
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        name, *parameters = part.split(";")
        weights[name.strip()] = weight(parameters)
    best = max(CODINGS, key=lambda coding: weights.get(coding, weights.get("*", 0)))
    return best if weights.get(best, weights.get("*", 0)) > 0 else None


def weight(parameters: Iterable[str]) -> float:
    """First `q` parameter of a coding; 1 if it is missing, 0 if it is not a number from 0 to 1."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if WEIGHT.fullmatch(value.strip()) else 0.0
    return 1.0


async def encoded_response(
    request: Request, body: bytes, *, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    """Response with an ETag, compressed if the body is large enough; 304 if the client has the body already.

    Raises Unavailable if the body is large and the budget for responses that clients have not read yet has no room,
    in total or for this tenant.
    """
    context = context_of(request)
    tenant = context.tenants.tenant_of(request.scope)
    if len(body) > SMALL_BYTES_MAX:
        with context.unread.held(tenant, 2 * len(body)):  # plain and compressed
            answer = await coded_response(request, body, media_type=media_type, headers=headers or {})
        return ReservedResponse(answer, context.unread, tenant, len(body))
    return await coded_response(request, body, media_type=media_type, headers=headers or {})


async def coded_response(request: Request, body: bytes, *, media_type: str, headers: Mapping[str, str]) -> Response:
    coding = chosen_coding(request) if len(body) > PLAIN_BYTES_MAX else None
    etag = f'"{sha256(body).hexdigest()[:32]}{f"-{coding}" if coding else ""}"'
    all_headers = {**HEADERS, **headers, "etag": etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {etag, "*"}:
        return Response(None, 304, all_headers)
    if coding is not None:
        body = await compress(body, coding)
        all_headers["content-encoding"] = coding
    return Response(body, 200, all_headers, media_type)


async def compress(body: bytes, coding: str) -> bytes:
    def compress() -> bytes:
        return zstandard.compress(body, 3) if coding == "zstd" else gzip.compress(body, 4)

    return compress() if len(body) <= IN_LOOP_BYTES_MAX else await asyncio.to_thread(compress)


def streamed_response(request: Request, pages: AsyncIterator[bytes], *, media_type: str) -> Response:
    """Response of any length, compressed page by page if the client accepts it; it counts as a few pages of memory."""
    context = context_of(request)
    tenant = context.tenants.tenant_of(request.scope)
    return ReservedResponse(coded_stream(request, pages, media_type=media_type), context.unread, tenant, STREAMED_BYTES)


def coded_stream(request: Request, pages: AsyncIterator[bytes], *, media_type: str) -> StreamingResponse:
    coding = chosen_coding(request)
    headers = dict(HEADERS)
    if coding is None:
        return StreamingResponse(pages, 200, headers, media_type)
    headers["content-encoding"] = coding
    return StreamingResponse(compressed_pages(pages, coding), 200, headers, media_type)


async def compressed_pages(pages: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    compressor = zstandard.ZstdCompressor(3).compressobj() if coding == "zstd" else compressobj(4, wbits=MAX_WBITS | 16)
    async for page in pages:
        yield await asyncio.to_thread(compressor.compress, page)
    yield compressor.flush()
