"""Import: publish facts from NDJSON of any length, each line on its own, committed in batches, with progress."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from factwire.api.http.authorization import Rule, principal_of, reader_of
from factwire.api.http.bodies import NDJSON, STOPPED_FIRST, check_media_type
from factwire.api.http.content_coding import coding_of, decode_chunks
from factwire.api.http.context import Context, context_of
from factwire.api.http.direct_response import client_has_left, is_forwarded
from factwire.api.http.idempotency_key import refuse_idempotency_key
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.model_conversion import fact_from
from factwire.api.http.models import ImportCounts, ImportLine, NewFactLine, Skipped
from factwire.api.http.problems import problem
from factwire.api.http.published_positions import note_published
from factwire.api.http.query_parameters import parameters_of, parse_meta_key
from factwire.api.http.rate_limits import Pace, pace_of
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import operation
from factwire.domain import errors
from factwire.domain.budget import Budget
from factwire.domain.errors import FactwireError, FieldError, LimitExceeded, OutcomeUnknown, RequestTimeout, Unavailable
from factwire.domain.fact import RESERVED_NAMESPACE, NewFact
from factwire.domain.position import Position
from factwire.domain.principal import Principal, Reader
from factwire.publish.batch import Published
from factwire.publish.intake import Admitted, admit

router = new_router("facts")

LINE = Decoder(NewFactLine)
CODINGS = ("gzip", "zstd")
PUBLISHED_AT_META = "published_at_meta"
BATCH_LINES_MAX = 500
PROGRESS_SECONDS = 1.0
LINGER_SECONDS = 0.2
LEFT_FIRST = "The client left before its lines were published."


@router.post(
    "/v1/facts/import",
    **operation(
        "import_facts",
        "Publish facts as lines, each on its own. Answers progress, and a result or a problem as the last line.",
        description=(
            "Lines are published in their order, in batches, and the answer reports progress while the body "
            "is still sent. The first line that fails ends the import; all lines before it are committed. "
            "Lines of an export are accepted as they are, and a whole import may be repeated."
        ),
        rule=Rule.PUBLISH,
        parameters=(PUBLISHED_AT_META,),
        body=NewFactLine,
        body_media_type=NDJSON,
        body_example="new-facts",
        result=ImportLine,
        result_example="imported",
        media_type=NDJSON,
        problems=(
            errors.MalformedParameter,
            errors.UnsupportedMediaType,
            errors.UnsupportedContentCoding,
            errors.UnknownParameter,
            errors.Unavailable,
        ),
    ),
)
async def import_facts(request: Request) -> Response:
    parameters = parameters_of(request, PUBLISHED_AT_META)
    refuse_idempotency_key(request, "give each line an id: then an import may be repeated")
    check_media_type(request, NDJSON)
    context = context_of(request)
    importing = ImportRun(
        context,
        reports_progress=may_answer_early(request),
        principal=principal_of(request),
        tenant=context.tenants.tenant_of(request.scope),
        reader=reader_of(request, context),
        pace=pace_of(request.scope),
        coding=coding_of(request.scope, CODINGS),
        published_at_meta=parameters.get(PUBLISHED_AT_META, parse_meta_key, None),
    )
    lines = importing.run(request)
    first = await anext(lines)

    async def all_lines() -> AsyncIterator[bytes]:
        yield first
        async for each in lines:
            yield each

    return DuplexResponse(all_lines(), media_type=NDJSON)


def may_answer_early(request: Request) -> bool:
    """True if the response may begin while the body still arrives, which does not work through a proxy.

    nginx drops the rest of a body once the response to it has begun (`preserve_output` in its ngx_http_upstream.c), and
    the import would wait for the rest in vain.
    """
    scope = request.scope
    return scope["http_version"] != "1.0" and not is_forwarded(scope)


class DuplexResponse(StreamingResponse):
    """Response that is sent while the body of its request is still being read.

    StreamingResponse calls `receive` to detect a disconnect, and would consume chunks of the body.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


@dataclass(slots=True)
class ImportRun:
    """One import in progress. A failure ends it at its line; all lines committed before stay committed."""

    context: Context
    reports_progress: bool
    principal: Principal
    tenant: str
    reader: Reader
    pace: Pace
    coding: str
    published_at_meta: str | None
    counts: ImportCounts = field(default_factory=ImportCounts)
    _positions: list[Position] = field(default_factory=list)

    async def run(self, request: Request) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        reported_at = loop.time()
        lines = ImportLines(self.context.bodies.budget, self.tenant, bytes_max=self.context.limits.body_bytes_max)
        try:
            async with aclosing(self._batches(request, lines)) as batches:
                async for batch in batches:
                    await self.context.bodies.turns.take(self.tenant)  # also for lines that publish nothing
                    if client_has_left(request.scope):
                        raise RequestTimeout(LEFT_FIRST)
                    self.reader.check()
                    try:
                        await self._publish_in_time(batch)
                    finally:
                        self._note(request)
                    lines.give_back(batch)
                    if self.reports_progress and loop.time() - reported_at >= PROGRESS_SECONDS:
                        reported_at = loop.time()
                        yield line({"progress": self.counts})
        except FactwireError as error:
            yield line({"problem": {**problem(error), "line": self.counts.lines + 1, "progress": self.counts}})
        else:
            yield line({"result": self.counts})
        finally:
            lines.close()

    async def _batches(self, request: Request, lines: "ImportLines") -> AsyncGenerator[list[bytes]]:
        """The lines in batches, as they arrive. A batch that is not full is not held back while the client pauses."""
        arriving = chunks(request, seconds=self.context.settings.body_seconds)
        async for piece in decode_chunks(arriving, self.coding):
            lines.add(piece)
            while batch := lines.take(only_full=bool(piece)):
                yield batch
            lines.check()
        lines.end()
        while batch := lines.take():
            yield batch

    async def _publish_in_time(self, lines: list[bytes]) -> None:
        try:
            await self._publish(lines)
        except asyncio.CancelledError:  # by the server, when its shutdown period is over
            raise OutcomeUnknown() from None

    async def _publish(self, lines: list[bytes]) -> None:
        """Publish a batch in order, up to the first line that fails. Raises the error of that line."""
        facts: list[NewFact | None] = []
        failure: FactwireError | None = None
        skipped: list[str | None] = []
        for text in lines:
            try:
                fact, reason = self._decode(text)
            except FactwireError as error:
                failure = error
                break
            facts.append(fact)
            skipped.append(reason)
        start = 0
        while start < len(facts):
            end = self._end_of_unit(facts, start)
            await self._publish_unit(facts[start:end], skipped[start:end])
            start = end
        if failure is not None:
            raise failure

    def _decode(self, text: bytes) -> tuple[NewFact | None, str | None]:
        """The fact of a line. None for a blank line; None and the reason for a line that is skipped."""
        if not text.strip():
            return None, None
        body, payloads = LINE.decode(text)
        reason = reason_to_skip(body)
        if reason is not None:
            return None, reason
        if self.published_at_meta is not None and body.published_at:
            body.meta = {self.published_at_meta: body.published_at, **(body.meta or {})}
        fact = fact_from(body, payloads, self.context.limits)
        admit(self.principal, [fact], pointer="/namespace")
        return fact, None

    def _end_of_unit(self, facts: Sequence[NewFact | None], start: int) -> int:
        """End of the lines that are published together: before a repeated id, or before too many postings."""
        seen: set[str] = set()
        postings = 0
        for place, fact in enumerate(facts[start:], start):
            if fact is not None:
                postings += len(fact.tags) + 1
                if fact.id in seen or (seen and postings > self.context.limits.postings_max):
                    return place
                seen.add(fact.id)
        return len(facts)

    async def _publish_unit(self, facts: Sequence[NewFact | None], skipped: Sequence[str | None]) -> None:
        new = [fact for fact in facts if fact is not None]
        await self.pace(len(new))
        outcomes: Iterator[Published | FactwireError] = iter(())
        if new:
            outcomes = iter(await self.context.intake.publish_in_order(Admitted(new), tenant=self.tenant))
        for fact, reason in zip(facts, skipped, strict=True):
            if fact is not None:
                self._count(next(outcomes))
            elif reason is not None:
                self._skip(reason)
            self.counts.lines += 1

    def _note(self, request: Request) -> None:
        """Add the published positions to the log line of the request."""
        positions, self._positions = self._positions, []
        if self.context.settings.log_requests:
            note_published(request.scope, positions)

    def _skip(self, reason: str) -> None:
        if self.counts.skipped is UNSET:
            self.counts.skipped = Skipped()
        setattr(self.counts.skipped, reason, getattr(self.counts.skipped, reason) + 1)

    def _count(self, outcome: Published | FactwireError) -> None:
        if isinstance(outcome, FactwireError):
            raise outcome
        if outcome.replayed:
            self.counts.replayed += 1
        else:
            self.counts.published += 1
            self._positions += outcome.positions
        if outcome.cursor.position >= self.counts.position:
            self.counts.position = outcome.cursor.position
            self.counts.cursor = str(outcome.cursor)


def reason_to_skip(body: NewFactLine) -> str | None:
    """Reason to skip a line of an export: its payload is gone, or it is a reserved fact about the source log."""
    for reason in ("redacted", "erased", "unreadable"):
        if getattr(body, reason) is True:
            return reason
    is_exported = any(each is not UNSET and each is not None for each in (body.position, body.published_at))
    return "reserved" if is_exported and body.namespace == RESERVED_NAMESPACE else None


class ImportLines:
    """Bounded buffer of body lines that are not published yet. Its bytes count towards the budget of all open bodies.

    Only the lines of the next batch are objects: for a line of two bytes, an object takes twenty times that size.
    """

    def __init__(self, budget: Budget, tenant: str, *, bytes_max: int) -> None:
        self._budget = budget
        self._tenant = tenant
        self._bytes_max = bytes_max
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._blocks: deque[bytes] = deque()  # of whole lines
        self._offset = 0  # of the first line of the first block that is not in a batch
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._held = 0

    def add(self, piece: bytes) -> None:
        """Add a piece that has arrived. Raises Unavailable if the budget has no room for it."""
        self._budget.take(self._tenant, len(piece))
        self._held += len(piece)
        end = piece.rfind(b"\n") + 1
        if end:
            self._blocks.append(b"".join([*self._rest, piece[:end]]))
            self._rest, self._rest_bytes = [], 0
        if end < len(piece):
            self._rest.append(piece[end:])
            self._rest_bytes += len(piece) - end

    def take(self, *, only_full: bool = False) -> list[bytes]:
        """Take the next batch. With `only_full`, an empty list if the batch is not full."""
        is_full = self._fill_batch()
        if only_full and not is_full and self._rest_bytes <= self._bytes_max:
            return []
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        return batch

    def _fill_batch(self) -> bool:
        """Split off as many lines as fit into the next batch. Returns True if it is full."""
        while self._blocks and len(self._batch) < BATCH_LINES_MAX and self._batch_bytes < self._bytes_max:
            block, start = self._blocks[0], self._offset
            end = block.index(b"\n", start)
            if self._batch and self._batch_bytes + end - start > self._bytes_max:
                return True
            self._batch.append(block[start:end])
            self._batch_bytes += end - start
            self._offset = end + 1
            if self._offset == len(block):
                self._blocks.popleft()
                self._offset = 0
        return len(self._batch) == BATCH_LINES_MAX or self._batch_bytes >= self._bytes_max

    def check(self) -> None:
        """Raises LimitExceeded if the line that is arriving is too long."""
        if self._rest_bytes > self._bytes_max:
            detail = f"a line may have at most {self._bytes_max} bytes"
            raise LimitExceeded("body_bytes_max", self._bytes_max, field=FieldError(detail))

    def end(self) -> None:
        """End the body: the bytes that are left form the last line."""
        if self._rest_bytes:
            self._blocks.append(b"".join([*self._rest, b"\n"]))
        self._rest, self._rest_bytes = [], 0

    def give_back(self, batch: Sequence[bytes]) -> None:
        """Return the bytes of a published batch to the budget."""
        count = min(self._held, sum(map(len, batch)) + len(batch))  # with the line feeds
        self._held -= count
        self._budget.give_back(self._tenant, count)

    def close(self) -> None:
        self._budget.give_back(self._tenant, self._held)
        self._held = 0


async def chunks(request: Request, *, seconds: float) -> AsyncIterator[bytes]:
    """The chunks of a body; an empty one if the client pauses. Raises RequestTimeout if no line ends in `seconds`."""
    loop = asyncio.get_running_loop()
    stream = request.stream()
    waited_seconds = 0.0  # for the client only, since its last line ended
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
            raise RequestTimeout(LEFT_FIRST) from None
        finally:
            arriving.cancel()
        if chunk is None:
            return
        if b"\n" in chunk:
            waited_seconds = 0.0
        yield chunk


def line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
