"""Work that is kept alive: its leases are extended while it goes on, and what is left at its end is returned."""

from __future__ import annotations

import logging
import threading
from typing import Any, Awaitable, Callable

import anyio

log = logging.getLogger(__name__)

LAST_SECONDS = 5.0  # for what has to be said when a worker is stopped


async def async_kept(
    work: Callable[[Any], Awaitable[None]], argument: Any, extend: Callable[[], Awaitable[None]], seconds: float
) -> Exception | None:
    """Do some work, and call `extend` every so many seconds meanwhile. Returns its failure, if it has failed."""
    failure: Exception | None = None
    async with anyio.create_task_group() as group:

        async def keep() -> None:
            while True:
                await anyio.sleep(seconds)
                try:
                    await extend()
                except Exception as error:
                    log.warning("leases could not be extended: %s", error)

        group.start_soon(keep)
        try:
            await work(argument)
        except Exception as error:
            failure = error
        group.cancel_scope.cancel()
    return failure


async def async_at_last(say: Callable[[], Awaitable[None]]) -> None:
    """Say something although this task is being cancelled, for a moment."""
    with anyio.move_on_after(LAST_SECONDS, shield=True):
        await say()


def kept(work: Callable[[Any], None], argument: Any, extend: Callable[[], None], seconds: float) -> Exception | None:
    """The same without tasks: the leases are extended by a thread."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(seconds):
            try:
                extend()
            except Exception as error:
                log.warning("leases could not be extended: %s", error)

    keeper = threading.Thread(target=keep, daemon=True, name="factwire-keeper")
    keeper.start()
    try:
        work(argument)
    except Exception as error:
        return error
    finally:
        ended.set()
        keeper.join()
    return None


def at_last(say: Callable[[], None]) -> None:
    say()
