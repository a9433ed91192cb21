"""Representations: the only conversion of facts into the bytes that leave the service.

The database builds pages and events in the envelope format, from facts that are stored as they are sent. Another
representation converts those bytes; the envelope itself is passed on without a copy.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from factwire.follow.pages import FoundPage
from factwire.follow.progress import Facts, Happening


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """Format of facts, chosen once for each request. None leaves lines, or events, in the envelope format."""

    convert_lines: Callable[[bytes], bytes] | None = None
    convert_events: Callable[[Facts], Facts] | None = None

    async def lines(self, page: bytes) -> bytes:
        """Convert a page of NDJSON lines, in a thread because a page is large."""
        return page if self.convert_lines is None else await asyncio.to_thread(self.convert_lines, page)

    def pushed(self, happening: Happening) -> Happening:
        """Convert events that are pushed to a stream at the head, at once because they are few."""
        if self.convert_events is None or not isinstance(happening, Facts):
            return happening
        return self.convert_events(happening)

    async def read(self, happening: Happening) -> Happening:
        """Convert events that were read from history, in a thread because they are many."""
        return happening if self.convert_events is None else await asyncio.to_thread(self.pushed, happening)


ENVELOPE = Representation()


def page_json(found: FoundPage, *, descending: bool) -> bytes:
    """Page as JSON. The database has built each of its facts with a comma after it."""
    page = found.page
    until = b',"until":"%b"' % str(page.cursor).encode() if descending and not found.caught_up else b""
    head_cursor = b"null" if found.head_cursor is None else b'"%b"' % str(found.head_cursor).encode()
    return b'{"facts":[%b],"position":%d,"cursor":"%b","head":%d,"head_cursor":%b,"caught_up":%b%b}' % (
        page.body[:-1],
        page.through,
        str(page.cursor).encode(),
        page.head,
        head_cursor,
        b"true" if found.caught_up else b"false",
        until,
    )
