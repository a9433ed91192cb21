"""Pages of history: one page for one request, with a long poll if requested, and all pages for an export."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace

from factwire.domain.errors import HistoryForked, KeyUnavailable, LogDamaged, Unavailable
from factwire.domain.position import START, Bound, Cursor, Position
from factwire.domain.principal import ANY_READER, Reader
from factwire.domain.query import Query
from factwire.follow.log_state import retry_until_received
from factwire.follow.tail import Tail
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys
from factwire.store.log import LogState, resolve
from factwire.store.pools import Pools
from factwire.store.read import Form, HistoryPage, PageBounds, read_page

SEARCH_SECONDS = 0.5
CHECK_SECONDS = 5.0  # interval at which a long poll checks that its reader may continue


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Request of one reader for a page or an export."""

    query: Query
    after: Bound
    until: Bound | None
    descending: bool
    facts_max: int
    wait_seconds: float = 0
    reader: Reader = ANY_READER
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Page of history; `caught_up` is True at the end of the range: `until` or the head, or `after` if descending.

    `head_cursor` is the head in the snapshot of the page, if no match up to it can be unseen: on an ascending page that
    reaches the head, and on a descending page that begins there. Only then a decision may depend on it.
    """

    page: HistoryPage
    caught_up: bool
    head_cursor: Cursor | None = None


async def find_page(pools: Pools, tail: Tail, page_request: PageRequest) -> FoundPage:
    """Read one page. If it is empty, search on for a moment, and wait for the first match if requested (long poll)."""
    loop = asyncio.get_running_loop()
    wait_until = loop.time() + page_request.wait_seconds

    found, cut_short = await retry_until_received(lambda: _look(pools, tail, page_request))
    if cut_short:
        return FoundPage(found.page, caught_up=False)
    while (
        found.page.facts == 0
        and found.caught_up
        and page_request.until is None
        and loop.time() < wait_until
        and not tail.drain.begun
    ):
        # A descending page ends at its lower bound, but it has seen all facts up to the head at its time.
        seen = found.page.head if page_request.descending else found.page.through
        if tail.head <= seen:
            await tail.wait(min(wait_until, loop.time() + CHECK_SECONDS))
            tail.refuse_fork()
            page_request.reader.check()
        if tail.ring.covers(seen) and tail.epoch == found.page.epoch:
            batch = tail.ring.take(page_request.query, seen, typed=False)
            if batch.facts == 0 and batch.through > seen:
                found = with_head(found, batch.through, descending=page_request.descending)
                await asyncio.sleep(0)
                continue
        if tail.head > seen:
            async with pools.read(page_request.tenant, at_least=tail.head) as connection:
                seen_state = LogState(found.page.head, found.page.epoch, found.page.through)
                found = await _search(connection, pools.master_keys, page_request, seen_state, None)
    return found


class ReadAhead:
    """Reads consecutive pages of history: the next page is read while one is being sent.

    A page that was read before an erasure or a redaction is read again.
    """

    def __init__(self, read_page: Callable[[Position], Coroutine[None, None, HistoryPage]], tail: Tail) -> None:
        self._read = read_page
        self._tail = tail
        self._erasures = 0
        self._cursor = Position(-1)
        self._next: asyncio.Task[HistoryPage] | None = None

    async def take(self, cursor: Position, *, goes_on: Callable[[HistoryPage], bool]) -> HistoryPage:
        """Return the page after a cursor. If `goes_on` returns True for it, start to read the next page at once."""
        if self._next is not None and (self._cursor != cursor or self._erasures != self._tail.erasures):
            await self.aclose()
        page = await (self._next or self._read(cursor))
        self._next = None
        if goes_on(page):
            self._cursor = page.through
            self._erasures = self._tail.erasures
            self._next = asyncio.create_task(self._read(page.through))
        return page

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
            self._next = None


async def export(pools: Pools, tail: Tail, page_request: PageRequest) -> AsyncGenerator[bytes]:
    """Yield the lines of all facts up to `until`, or to the head at the time of the start. Raises any failure."""

    async def look() -> tuple[LogState, Position | None, bool]:
        async with pools.read(page_request.tenant) as connection:
            return await _resolve(connection, tail, page_request)

    state, until, cut_short = await retry_until_received(look)
    if cut_short:
        # Not left to the pages: if the epoch is raised meanwhile, they would end at the fork as if that were the end.
        raise HistoryForked(forked_after=until)
    end = min(state.head, until) if until is not None else state.head

    async def read_lines(cursor: Position) -> HistoryPage:
        async with pools.read(page_request.tenant, at_least=end) as connection:
            return await read_page(
                connection,
                page_request.query,
                after=cursor,
                until=end,
                form=Form.LINES,
                bounds=PageBounds(),
                master_keys=pools.master_keys,
            )

    cursor = state.position
    async with aclosing(ReadAhead(read_lines, tail)) as pages:
        while cursor < end:
            page = await pages.take(cursor, goes_on=lambda page: page.through < end)
            if page.epoch != state.epoch:
                raise Unavailable("The epoch changed during the export.")
            tail.refuse_fork()
            page_request.reader.check()
            yield page.body
            cursor = page.through


def head_cursor_of(page: HistoryPage, page_request: PageRequest) -> Cursor | None:
    """Cursor of the head of a page that has seen everything up to it that its query matches; see FoundPage."""
    begins_at_head = page_request.descending and page_request.until is None
    reaches_head = not page_request.descending and page.through >= page.head
    return Cursor(page.epoch, page.head) if begins_at_head or reaches_head else None


def with_head(found: FoundPage, head: Position, *, descending: bool) -> FoundPage:
    """Return the same empty page, but seen up to a later head."""
    page = found.page
    page = HistoryPage(head, page.epoch, page.through if descending else head, 0, None, b"")
    return FoundPage(page, found.caught_up, Cursor(page.epoch, head))


async def _resolve(
    connection: Connection, tail: Tail, page_request: PageRequest
) -> tuple[LogState, Position | None, bool]:
    """Resolve the start and end of the read; the third value is True if a fork cuts short the range asked for."""
    readable = page_request.reader.readable
    state = await resolve(connection, page_request.after, readable)
    until = None if page_request.until is None else (await resolve(connection, page_request.until, readable)).position
    if tail.fork is None:
        return state, until, False
    served_until = tail.fork.after
    if served_until is not None and until is not None and until <= served_until and state.position < served_until:
        return state, until, False
    # Descending, the facts asked for first are those that may not be served. Ascending, the next page is refused.
    if served_until is None or page_request.descending or state.position >= served_until:
        tail.refuse_fork()
    return state, served_until, True


async def _look(pools: Pools, tail: Tail, page_request: PageRequest) -> tuple[FoundPage, bool]:
    """Read one page; the second value is True if a fork cuts short the range asked for."""
    found = None if tail.fork else await _find_between_positions(pools, page_request)
    if found is not None and tail.fork is None:  # none was noticed during the read either
        return found, False
    async with pools.read(page_request.tenant) as connection:
        state, until, cut_short = await _resolve(connection, tail, page_request)
        return await _search(connection, pools.master_keys, page_request, state, until), cut_short


async def _find_between_positions(pools: Pools, page_request: PageRequest) -> FoundPage | None:
    """Read a page between positions, without another round trip to resolve them first. None if a bound is no position.

    The page shows if they were good: they are of its epoch, and between its floor and its head. If they were not, or
    the page cannot be composed, the result is None as well: to resolve them shows what is wrong. That needs another
    connection, since behind a pooler the transaction of this one has failed.
    """
    after = Cursor(0, START) if page_request.after == "start" else page_request.after
    until = page_request.until
    if not isinstance(after, Cursor) or not isinstance(until, Cursor | None):
        return None
    state, upper = LogState(START, 0, after.position), None if until is None else until.position
    try:
        async with pools.read(page_request.tenant, at_least=after.position) as connection:
            found = await _search(connection, pools.master_keys, page_request, state, upper)
    except (LogDamaged, KeyUnavailable):  # perhaps only because of facts below the floor, or of another history
        return None
    page, bounds = found.page, [bound for bound in (after, until) if bound is not None]
    are_good = all(bound.epoch in (0, page.epoch) and page.floor <= bound.position <= page.head for bound in bounds)
    return found if are_good else None


async def _search(
    connection: Connection, master_keys: MasterKeys, page_request: PageRequest, state: LogState, until: Position | None
) -> FoundPage:
    """Read pages until one has facts, the end is reached, or a moment has passed: a short page may not be the last.

    All are of the epoch of `state`; 0 is the epoch of the first one.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + SEARCH_SECONDS
    epoch, after, bounds = state.epoch, state.position, PageBounds(facts_max=page_request.facts_max)
    head: Position | None = None
    while True:
        page = await read_page(
            connection,
            page_request.query,
            after=after,
            until=until,
            descending=page_request.descending,
            form=Form.ELEMENTS,
            bounds=bounds,
            master_keys=master_keys,
        )
        epoch = epoch or page.epoch
        if page.epoch != epoch:
            raise Unavailable("The epoch changed during the read.")
        if page_request.descending:
            # Of several statements only the first one looked at the newest facts.
            head = page.head if head is None else head
            page = replace(page, head=head)
        end = page.head if until is None else min(until, page.head)
        caught_up = page.through <= state.position if page_request.descending else page.through >= end
        if page.facts or caught_up or loop.time() > give_up_at:
            return FoundPage(page, caught_up, head_cursor_of(page, page_request))
        if page_request.descending:
            until = page.through
        else:
            after = page.through
