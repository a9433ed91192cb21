"""Reading request bodies: of the right media type, within the limit, in time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from app.domain.errors import BodyTooLarge, RequestTimeout, Unavailable, UnsupportedMediaType

JSON = "application/json"
NDJSON = "application/x-ndjson"


def check_media_type(request: Request, expected: str) -> None:
    """Without it a page of another origin could publish with a form: only some media types need its permission."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != expected:
        raise UnsupportedMediaType(expected)


class Bodies:
    """Reads bodies whole, each within its limit and all that are under way within one for the process."""

    def __init__(self, *, bytes_max: int, all_bytes_max: int, seconds: float) -> None:
        self._bytes_max = bytes_max
        self._room = all_bytes_max
        self._seconds = seconds

    async def read_json(self, request: Request) -> bytes:
        """One body. It is refused as soon as it is known to be too large, not after it was read."""
        check_media_type(request, JSON)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._bytes_max:
            raise BodyTooLarge("body_bytes_max", self._bytes_max)
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._seconds):
                await self._collect(request, chunks)
        except TimeoutError:
            raise RequestTimeout(f"The body did not arrive within {self._seconds:g} s.") from None
        except ClientDisconnect:
            raise RequestTimeout("The client left before the body was complete.") from None
        finally:
            self._room += sum(map(len, chunks))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _collect(self, request: Request, chunks: list[bytes]) -> None:
        total = 0
        async for chunk in request.stream():
            total += len(chunk)
            if total > self._bytes_max:
                raise BodyTooLarge("body_bytes_max", self._bytes_max)
            if len(chunk) > self._room:
                raise Unavailable("Too many request bodies are under way.")
            self._room -= len(chunk)
            chunks.append(chunk)
