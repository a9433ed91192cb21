"""The progress of one stream has one owner: a heartbeat or a problem never says more than the client got."""

import asyncio

import pytest

from factwire.domain.errors import Unavailable
from factwire.domain.position import Cursor, Position
from factwire.follow.progress import Moved, Progress, Quiet


@pytest.fixture
async def progress() -> Progress:
    return Progress(Cursor(1, Position(5)), head=Position(5), heartbeat_seconds=10, ends_at=1e9)


def at(position: int) -> Cursor:
    return Cursor(1, Position(position))


def last_cursor(progress: Progress) -> Cursor:
    return progress.failure(Unavailable("gone")).cursor


async def test_a_failure_at_once_carries_the_cursor_of_the_beginning(progress: Progress) -> None:
    assert last_cursor(progress) == at(5)


async def test_a_failure_carries_the_last_fact_that_was_delivered(progress: Progress) -> None:
    progress.mark_delivered(Position(9), Position(7), now=0)
    assert last_cursor(progress) == at(7)


async def test_a_heartbeat_counts_only_once_it_is_sent(progress: Progress) -> None:
    due_at = progress.heartbeat_at
    progress.mark_compared(Position(8))
    heartbeat = progress.next_heartbeat()
    assert heartbeat == Moved(at(8))
    assert (last_cursor(progress), progress.heartbeat_at) == (at(5), due_at)
    progress.mark_sent(heartbeat, now=due_at)
    assert (last_cursor(progress), progress.heartbeat_at) == (at(8), due_at + 10)
    assert progress.next_heartbeat() == Quiet()


async def test_a_stream_that_drains_ends_once_at_a_moment_of_its_own(progress: Progress) -> None:
    now = asyncio.get_running_loop().time()
    progress.end_within(now, 4)
    ends_at = progress.ends_at
    assert now <= ends_at <= now + 4 * 0.8
    progress.end_within(now + 1, 4)
    assert progress.ends_at == ends_at
