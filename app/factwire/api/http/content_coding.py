"""Content coding of request bodies (RFC 9110, section 8.4): they are decoded as they arrive, in bounded pieces."""

import zlib
from collections.abc import AsyncIterator, Iterator

import zstandard
from starlette.types import Scope

from factwire.api.http.direct_response import header
from factwire.domain.errors import MalformedBody, UnsupportedContentCoding

GZIP = zlib.MAX_WBITS | 16
PIECE_BYTES_MAX = 256 * 1024
ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024
ZSTD_STEP_BYTES = 64  # at most 21 blocks, each of which may expand to 128 KiB


def check_no_coding(scope: Scope) -> None:
    """Raises UnsupportedContentCoding if the body has a coding: most operations take plain bodies only."""
    if header(scope, b"content-encoding"):
        coding_of(scope, ())


def coding_of(scope: Scope, known: tuple[str, ...]) -> str:
    """Coding of a body; empty if it has no coding. Raises UnsupportedContentCoding."""
    coding = header(scope, b"content-encoding").decode("latin-1").strip().lower()
    coding = {"x-gzip": "gzip", "identity": ""}.get(coding, coding)
    if coding and coding not in known:
        raise UnsupportedContentCoding(known)
    return coding


async def decode_chunks(chunks: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """Decode the chunks of a body; an empty chunk is passed on. Raises MalformedBody."""
    decoder = decoder_of(coding)
    async for chunk in chunks:
        if decoder is None or not chunk:
            yield chunk
            continue
        for piece in decoder.pieces(chunk):
            yield piece
    if decoder is not None and not decoder.is_complete:
        raise MalformedBody("The body ends in the middle of its Content-Encoding.")


def decoder_of(coding: str) -> "Gunzip | Unzstd | None":
    return Gunzip() if coding == "gzip" else Unzstd() if coding == "zstd" else None


class Gunzip:
    """Decoder of consecutive gzip members, in pieces of a bounded size, however much they expand."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP)
        self._begun = False

    @property
    def is_complete(self) -> bool:
        return not self._begun or self._member.eof

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP)
            self._begun = True
            try:
                piece = self._member.decompress(chunk, PIECE_BYTES_MAX)
            except zlib.error as error:
                raise MalformedBody(f"The body is not gzip: {error}.") from None
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece


class Unzstd:
    """Decoder of consecutive zstd frames, in pieces of a bounded size, however much they expand."""

    def __init__(self) -> None:
        self._frames = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        self._frame = self._frames.decompressobj()
        self._begun = False

    @property
    def is_complete(self) -> bool:
        return not self._begun or self._frame.eof

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        rest = memoryview(chunk)
        while rest:
            step, rest = bytes(rest[:ZSTD_STEP_BYTES]), rest[ZSTD_STEP_BYTES:]
            yield from self._step(step)

    def _step(self, step: bytes) -> Iterator[bytes]:
        while step:
            if self._frame.eof:
                self._frame = self._frames.decompressobj()
            self._begun = True
            try:
                piece = self._frame.decompress(step)
            except zstandard.ZstdError as error:
                raise MalformedBody(f"The body is not zstd: {error}.") from None
            step = self._frame.unused_data if self._frame.eof else b""
            if piece:
                yield piece
