"""Import: facts as NDJSON of any length, each line on its own, committed in batches, with progress."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.admitting import Rule, forbidden_namespace, principal_of, reader_of
from app.api.asgi import header
from app.api.bodies import NDJSON, STOPPED_FIRST, check_media_type
from app.api.context import Context, context_of
from app.api.decoding import Decoder
from app.api.documenting import operation
from app.api.parameters import parameters_of
from app.api.problems import problem
from app.api.routing import new_router
from app.api.spending import Pace, pace_of
from app.api.wire import ImportCounts, ImportLine, NewFactLine, fact_from
from app.domain import errors
from app.domain.errors import FactwireError, FieldError, LimitExceeded, OutcomeUnknown, RequestTimeout, Unavailable
from app.domain.fact import NewFact
from app.domain.principal import Principal, Reader
from app.stream.grouping import Published

router = new_router("facts")

LINE = Decoder(NewFactLine)
BATCH_LINES_MAX = 500
PROGRESS_SECONDS = 1.0
LINGER_SECONDS = 0.2
FORWARDED = (b"x-forwarded-for", b"x-real-ip", b"forwarded", b"via")


@router.post(
    "/v1/facts/import",
    **operation(
        "import_facts",
        "Publish facts as lines, each on its own. Answers progress, and a result or a problem as the last line.",
        rule=Rule.PUBLISH,
        body=NewFactLine,
        body_media_type=NDJSON,
        body_example="new-facts",
        result=ImportLine,
        result_example="imported",
        media_type=NDJSON,
        problems=(errors.MalformedParameter, errors.UnsupportedMediaType, errors.UnknownParameter, errors.Unavailable),
    ),
)
async def import_facts(request: Request) -> Response:
    parameters_of(request)
    check_media_type(request, NDJSON)
    context = context_of(request)
    importing = Importing(
        context,
        tells_progress=may_answer_early(request),
        principal=principal_of(request),
        reader=reader_of(request, context),
        pace=pace_of(request.scope),
    )
    lines = importing.run(request)
    first = await anext(lines)

    async def all_lines() -> AsyncIterator[bytes]:
        yield first
        async for each in lines:
            yield each

    return DuplexResponse(all_lines(), media_type=NDJSON)


def may_answer_early(request: Request) -> bool:
    """Whether the answer may begin while the body still arrives: not to a proxy.

    nginx drops the rest of a body once the answer to it has begun (`preserve_output` in its ngx_http_upstream.c), and
    the import would wait for it in vain.
    """
    scope = request.scope
    return scope["http_version"] != "1.0" and not any(header(scope, name) for name in FORWARDED)


class DuplexResponse(StreamingResponse):
    """A response that is sent while the body of its request is still read.

    StreamingResponse waits for the client to leave by receiving, and would swallow the chunks of the body.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


@dataclass(slots=True)
class Importing:
    """One import under way. A failure ends it at its line; what was committed before stays."""

    context: Context
    tells_progress: bool
    principal: Principal
    reader: Reader
    pace: Pace
    counts: ImportCounts = field(default_factory=ImportCounts)

    async def run(self, request: Request) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        told_at = loop.time()
        try:
            async for lines in self._batches(request):
                self.reader.check()
                await self._publish_in_time(lines)
                if self.tells_progress and loop.time() - told_at >= PROGRESS_SECONDS:
                    told_at = loop.time()
                    yield line({"progress": self.counts})
        except FactwireError as error:
            yield line({"problem": {**problem(error), "line": self.counts.lines + 1, "progress": self.counts}})
        else:
            yield line({"result": self.counts})

    async def _batches(self, request: Request) -> AsyncIterator[list[bytes]]:
        """Lines as they arrive, in batches. One that is not full is not held back while its client pauses."""
        bytes_max = self.context.limits.body_bytes_max
        lines: list[bytes] = []
        size = 0
        rest = b""
        async for chunk in chunks(request, seconds=self.context.settings.body_seconds):
            *complete, rest = (rest + chunk).split(b"\n")
            for text in complete:
                lines.append(text)
                size += len(text)
                if len(lines) >= BATCH_LINES_MAX or size >= bytes_max:
                    yield lines
                    lines, size = [], 0
            paused = not chunk
            if lines and (paused or len(rest) > bytes_max):
                yield lines
                lines, size = [], 0
            if len(rest) > bytes_max:
                detail = f"a line may have at most {bytes_max} bytes"
                raise LimitExceeded("body_bytes_max", bytes_max, field=FieldError(detail))
        if rest:
            lines.append(rest)
        if lines:
            yield lines

    async def _publish_in_time(self, lines: list[bytes]) -> None:
        try:
            await self._publish(lines)
        except asyncio.CancelledError:  # by the server, when its time to finish is over
            raise OutcomeUnknown() from None

    async def _publish(self, lines: list[bytes]) -> None:
        """Publish a batch in order, up to its first line that fails, which is raised."""
        facts: list[NewFact | None] = []
        failure: FactwireError | None = None
        for text in lines:
            try:
                facts.append(self._decode(text))
            except FactwireError as error:
                failure = error
                break
        while facts:
            facts = await self._publish_distinct(facts)
        if failure is not None:
            raise failure

    def _decode(self, text: bytes) -> NewFact | None:
        """The fact of a line; None for a blank one."""
        if not text.strip():
            return None
        body, payloads = LINE.decode(text)
        fact = fact_from(body, payloads, self.context.limits)
        if fact.namespace not in self.principal.grants.publish:
            raise forbidden_namespace(fact.namespace, "/namespace")
        return fact

    async def _publish_distinct(self, facts: list[NewFact | None]) -> list[NewFact | None]:
        """Publish the lines up to the first whose id stands before it among them, and return the others.

        Within one batch for the publisher no two lines may share an id.
        """
        seen: set[str] = set()
        count = 0
        for fact in facts:
            if fact is not None and fact.id in seen:
                break
            if fact is not None:
                seen.add(fact.id)
            count += 1
        distinct = [fact for fact in facts[:count] if fact is not None]
        await self.pace(len(distinct))
        outcomes = iter(await self.context.publisher.publish_each(distinct))
        for fact in facts[:count]:
            if fact is not None:
                self._count(next(outcomes))
            self.counts.lines += 1
        return facts[count:]

    def _count(self, outcome: Published | FactwireError) -> None:
        if isinstance(outcome, FactwireError):
            raise outcome
        if outcome.replayed:
            self.counts.replayed += 1
        else:
            self.counts.published += 1
        if outcome.cursor.position >= self.counts.position:
            self.counts.position = outcome.cursor.position
            self.counts.cursor = str(outcome.cursor)


async def chunks(request: Request, *, seconds: float) -> AsyncIterator[bytes]:
    """The chunks of a body; an empty one when the client pauses. Raises RequestTimeout if no line ends for so long."""
    loop = asyncio.get_running_loop()
    stream = request.stream()
    waited_seconds = 0.0  # for the client alone, since its last line ended
    while True:
        arriving, began_at = asyncio.ensure_future(anext(stream, None)), loop.time()
        try:
            await asyncio.wait({arriving}, timeout=LINGER_SECONDS)
            if not arriving.done():
                waited_seconds += loop.time() - began_at
                yield b""
                began_at = loop.time()
            await asyncio.wait({arriving}, timeout=max(0, seconds - waited_seconds))
            waited_seconds += loop.time() - began_at
            if not arriving.done() or waited_seconds > seconds + LINGER_SECONDS:
                raise RequestTimeout(f"No line arrived for {seconds:g} s.")
            chunk = arriving.result()
        except asyncio.CancelledError:
            raise Unavailable(STOPPED_FIRST) from None
        except ClientDisconnect:
            raise RequestTimeout("The client left before the body was complete.") from None
        finally:
            arriving.cancel()
        if chunk is None:
            return
        if b"\n" in chunk:
            waited_seconds = 0.0
        yield chunk


def line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
