"""Reading request bodies: of the right media type, within the limit, in time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from app.domain.errors import BodyTooLarge, RequestTimeout, UnsupportedMediaType

JSON = "application/json"
NDJSON = "application/x-ndjson"


def check_media_type(request: Request, expected: str) -> None:
    """Without it a page of another origin could publish with a form: only some media types need its permission."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != expected:
        raise UnsupportedMediaType(expected)


async def read_body(request: Request, *, media_type: str, bytes_max: int, seconds: float) -> bytes:
    """The whole body. It is refused as soon as it is known to be too large, not after it was read."""
    check_media_type(request, media_type)
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > bytes_max:
        raise BodyTooLarge("body_bytes_max", bytes_max)
    chunks: list[bytes] = []
    total = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                total += len(chunk)
                if total > bytes_max:
                    raise BodyTooLarge("body_bytes_max", bytes_max)
                chunks.append(chunk)
    except TimeoutError:
        raise RequestTimeout(f"The body did not arrive within {seconds:g} s.") from None
    except ClientDisconnect:
        raise RequestTimeout("The client left before the body was complete.") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
