"""Reading request bodies: of the right media type, within the limit, in time."""

import asyncio
from collections.abc import Coroutine
from typing import cast

from starlette.requests import Request
from starlette.types import Message

from factwire.api.http.content_coding import check_no_coding
from factwire.api.http.decoding_turns import LARGE_BYTES, DecodingTurns
from factwire.api.http.direct_response import JSON, WouldWait, at_once, header
from factwire.api.http.tenants import Tenants
from factwire.domain.budget import Budget
from factwire.domain.errors import BodyTooLarge, RequestTimeout, Unavailable, UnsupportedMediaType

NDJSON = "application/x-ndjson"

# Only the server cancels a request: when its time limit to finish requests in progress has passed.
TOO_MANY = "Too many request bodies are under way: FACTWIRE_BODIES_BYTES_MAX bounds them, and half for each principal."
STOPPED_FIRST = "The service stopped before the body was complete."


def check_media_type(request: Request, *expected: str, otherwise: str = "") -> str:
    """Media type of the body, one of those expected. Raises UnsupportedMediaType for any other.

    Without this check a page of another origin could publish with a form: browsers ask this service for permission
    only for some media types.
    """
    given = header(request.scope, b"content-type")
    for media_type in expected:
        if given == media_type.encode() or media_type_of(request) == media_type:
            return media_type
    raise UnsupportedMediaType(" or ".join(expected), otherwise=otherwise)


def media_type_of(request: Request) -> str:
    """Media type of the body without its parameters; empty if it is not given."""
    return header(request.scope, b"content-type").partition(b";")[0].strip().lower().decode("latin-1")


class Bodies:
    """Reader of whole bodies, each within its limit, and all in progress within one budget of the process.

    A caller that gets a large body has to decode it at once, within its decoding turn.
    """

    def __init__(self, tenants: Tenants, *, bytes_max: int, all_bytes_max: int, seconds: float) -> None:
        self._tenants = tenants
        self._bytes_max = bytes_max
        self.budget = Budget(all_bytes_max, refusal=TOO_MANY, least=2 * bytes_max)
        self.turns = DecodingTurns()
        self._seconds = seconds

    async def read_json(self, request: Request) -> bytes:
        """Read a JSON body. Raises UnsupportedMediaType for any other."""
        check_media_type(request, JSON)
        return await self.read(request)

    async def read_optional_json(self, request: Request) -> bytes:
        """Read a JSON body, or an empty object if the request has none. Raises UnsupportedMediaType for any other."""
        has_body = header(request.scope, b"content-length") not in (b"", b"0")
        if not has_body and not header(request.scope, b"transfer-encoding"):
            return b"{}"
        return await self.read_json(request)

    async def read(self, request: Request) -> bytes:
        """Read one body. It is refused as soon as it is known to be too large, not after it was read."""
        check_no_coding(request.scope)
        declared = header(request.scope, b"content-length")
        if declared.isdigit():
            self.check_size(int(declared))
        try:
            # Most bodies arrive together with their headers.
            message = at_once(cast(Coroutine[None, None, Message], request.receive()))
        except WouldWait:
            message = None
        if message is not None and message["type"] == "http.request" and not message["more_body"]:
            body: bytes = message["body"]
            self.check_size(len(body))
            if len(body) >= LARGE_BYTES:
                tenant = self._tenants.tenant_of(request.scope)
                with self.budget.held(tenant, len(body)):
                    await self.turns.take(tenant)
            return body
        return await self._read(request, message)

    def check_size(self, size: int) -> None:
        if size > self._bytes_max:
            raise BodyTooLarge("body_bytes_max", self._bytes_max)

    async def _read(self, request: Request, message: Message | None) -> bytes:
        chunks: list[bytes] = []
        tenant = self._tenants.tenant_of(request.scope)
        try:
            async with asyncio.timeout(self._seconds):
                await self._collect(request, message, chunks, tenant)
            if sum(map(len, chunks)) >= LARGE_BYTES:
                await self.turns.take(tenant)
        except TimeoutError:
            raise RequestTimeout(f"The body did not arrive within {self._seconds:g} s.") from None
        except asyncio.CancelledError:
            raise Unavailable(STOPPED_FIRST) from None
        finally:
            self.budget.give_back(tenant, sum(map(len, chunks)))
        return b"".join(chunks)

    async def _collect(self, request: Request, message: Message | None, chunks: list[bytes], tenant: str) -> None:
        total = 0
        while True:
            message = message or await request.receive()
            if message["type"] == "http.disconnect":
                raise RequestTimeout("The client left before the body was complete.")
            chunk: bytes = message.get("body", b"")
            total += len(chunk)
            self.check_size(total)
            self.budget.take(tenant, len(chunk))
            chunks.append(chunk)
            if not message.get("more_body"):
                return
            message = None
