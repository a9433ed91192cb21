"""Listening for the hint that append_facts sends, on a connection of its own."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import asyncpg

from app.store.database import CONNECT_SECONDS, SESSION

CHANNEL = "factwire"
PROBE = "select 1"


async def listen(url: str, on_hint: Callable[[], None], *, probe_seconds: float) -> None:
    """Call `on_hint` at once and at each notification, until the connection is lost, which is what this raises.

    The connection is probed: a server that vanished is noticed by TCP alone only after minutes.
    """
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=CONNECT_SECONDS,
        server_settings={**SESSION, "application_name": "factwire listen"},
    )
    lost = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, lambda *_: on_hint())
        on_hint()
        while not lost.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), probe_seconds)
                break
            await connection.execute(PROBE)
        raise ConnectionError("the listening connection was lost")
    finally:
        connection.terminate()
