"""Rooms for history: large pages while there is memory, small ones when there is little, and then a wait."""

import asyncio

import pytest

from factwire.domain.errors import Unavailable
from factwire.follow.history_memory import PAGE_BYTES, PAGES, HistoryMemory, PageReservation

LARGE, _, SMALL = PAGE_BYTES


async def test_pages_get_smaller_as_memory_gets_short_and_then_streams_wait() -> None:
    rooms = HistoryMemory(2 * (PAGES * LARGE + PAGES * SMALL))
    first, second, third = (PageReservation(rooms, "a") for _ in range(3))
    for room in (first, second):
        await room.take(seconds=0)
    assert (first.page_bytes, second.page_bytes) == (LARGE, SMALL)
    with pytest.raises(Unavailable):
        await third.take(seconds=0)
    waiting = asyncio.create_task(third.take(seconds=20))
    await asyncio.sleep(0)
    first.give_back()
    await waiting
    assert third.page_bytes == LARGE


async def test_another_tenant_has_a_share_of_its_own() -> None:
    rooms = HistoryMemory(4 * PAGES * LARGE)
    greedy = [PageReservation(rooms, "a") for _ in range(2)]
    for room in greedy:
        await room.take(seconds=0)
    with pytest.raises(Unavailable):
        await PageReservation(rooms, "a").take(seconds=0)
    other = PageReservation(rooms, "b")
    await other.take(seconds=0)
    assert other.page_bytes == LARGE


async def test_all_is_given_back_at_the_end() -> None:
    rooms = HistoryMemory(4 * PAGES * LARGE)
    async with PageReservation(rooms, "a") as room:
        await room.take(seconds=0)
        await room.take(seconds=0)
        assert rooms.budget.used == PAGES * LARGE
    assert rooms.budget.used == 0
