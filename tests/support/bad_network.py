"""A proxy that cuts, delays and repeats: one fault for each connection, in the order of a script."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

DELAY_SECONDS = 0.05
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What happens to a connection once so many bytes of its answers, or of its requests, have passed.

    `cut` resets it, `end` closes it as if all were well, `lose` resets it before the rest of the request, `delay`
    holds back what follows for a moment, `stall` for ever, and `repeat` sends all of its requests once more.
    """

    kind: Literal["cut", "end", "lose", "delay", "repeat", "stall"]
    after: int


class BadNetwork:
    """Connections to the service at a port. When the script is at its end, nothing happens to them any more."""

    def __init__(self, port: int, script: Iterable[Fault]) -> None:
        self._port = port
        self._script = list(script)
        self.connections = 0
        self.happened: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        fault = self._script.pop(0) if self._script else Fault("delay", 1 << 60)
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        sent = bytearray()
        asking = asyncio.create_task(self._ask(reader, requests, fault, sent))
        answering = asyncio.create_task(self._answer(answers, writer, fault, sent))
        try:
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not asking.exception() and asking.result():
                writer.transport.abort()  # otherwise the client has left, or an answer has ended
        finally:
            for task in (asking, answering):
                task.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)
            requests.transport.abort()
            writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, requests: asyncio.StreamWriter, fault: Fault, sent: bytearray
    ) -> bool:
        """True if the connection was lost in the middle of a request."""
        while chunk := await reader.read(CHUNK_BYTES):
            if fault.kind == "lose" and len(sent) + len(chunk) > fault.after:
                requests.write(chunk[: max(0, fault.after - len(sent))])
                with suppress(OSError):
                    await requests.drain()
                self.happened.append(fault.kind)
                return True
            sent += chunk
            requests.write(chunk)
            await requests.drain()
        return False

    async def _answer(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault, sent: bytearray
    ) -> None:
        passed = 0
        while chunk := await answers.read(CHUNK_BYTES):
            if fault.kind != "lose" and passed <= fault.after < passed + len(chunk):
                self.happened.append(fault.kind)
                room = fault.after - passed
                writer.write(chunk[:room])
                await writer.drain()
                if fault.kind == "cut":
                    return writer.transport.abort()
                if fault.kind == "end":
                    return writer.close()
                await self._disturb(fault, bytes(sent))
                chunk, passed = chunk[room:], fault.after + 1
            writer.write(chunk)
            await writer.drain()
            passed += len(chunk)
        return None

    async def _disturb(self, fault: Fault, sent: bytes) -> None:
        if fault.kind == "stall":
            await asyncio.Event().wait()
        if fault.kind == "delay":
            await asyncio.sleep(DELAY_SECONDS)
            return
        answers, requests = await asyncio.open_connection("127.0.0.1", self._port)
        requests.write(sent)
        with suppress(TimeoutError):
            await asyncio.wait_for(answers.read(CHUNK_BYTES), 5)
        requests.transport.abort()


@asynccontextmanager
async def bad_network(port: int, script: Iterable[Fault]) -> AsyncIterator[tuple[BadNetwork, str]]:
    """A bad network before the service at a port, and the URL that leads through it."""
    network = BadNetwork(port, script)
    serving: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving[writer] = asyncio.create_task(network.serve(reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield network, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in serving:
            writer.transport.abort()
        if serving:  # not cancelled at once: a connection that is being made would stay open
            await asyncio.wait(serving.values(), timeout=2)
        for task in serving.values():
            task.cancel()
        await asyncio.gather(*serving.values(), return_exceptions=True)
