"""LISTEN/NOTIFY hints from process to process that there are new facts."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from factwire.store.connection import CONNECT_SECONDS, Connection, connect
from factwire.store.pools import is_standby

CHANNEL = "factwire"
LISTENING = "factwire listen"
PROBE = "select 1"
PROMOTION_SECONDS = 1.0
NOTIFY = "select pg_notify($1, $2)"
LISTENERS = """
select pid
  from pg_stat_activity
 where datname = current_database()
   and application_name = $1
"""


async def notify(connection: Connection, sender: str) -> None:
    """Notify the listeners of all processes of new facts; by `sender` a process recognises its own hints."""
    await connection.execute(NOTIFY, CHANNEL, sender)


async def listeners(connection: Connection) -> frozenset[int]:
    """Backends (pids) on which processes listen. Every role can read them, regardless of its privileges."""
    rows = await connection.fetch(LISTENERS, LISTENING)
    return frozenset(row["pid"] for row in rows)


async def listen(
    url: str, on_hint: Callable[[str], None], *, probe_seconds: float, on_connected: Callable[[int], None]
) -> None:
    """Call `on_hint` at the start, and with the sender at each notification, until the connection is lost.

    The first call has an empty sender. Raises an error when the connection is lost. `on_connected` receives the backend
    (pid) on which it listens.

    The connection is probed: TCP alone detects a vanished server only after minutes. A standby refuses LISTEN, so that
    listening begins only after its promotion, which does not close the connection.
    """
    connection = await connect(url, application_name=LISTENING, statement_seconds=CONNECT_SECONDS)
    lost = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: lost.set())
        await wait_for_promotion(connection)
        await connection.add_listener(CHANNEL, lambda *given: on_hint(str(given[-1])))
        on_connected(connection.get_server_pid())
        on_hint("")
        while not lost.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), probe_seconds)
                break
            await connection.execute(PROBE)
        raise ConnectionError("the listening connection was lost")
    finally:
        connection.terminate()


async def wait_for_promotion(connection: Connection) -> None:
    """Wait until the server is not a standby."""
    while True:
        if not await is_standby(connection):
            return
        await asyncio.sleep(PROMOTION_SECONDS)
