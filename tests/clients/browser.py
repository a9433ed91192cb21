"""A real browser on a page of its own origin, in which a test runs scripts."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ANSWER_SECONDS = 30.0
PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<!doctype html>"


class Page:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, script: str) -> Any:
        """What an expression comes to, or the promise that it is; raises AssertionError with what the page threw."""
        return await self._ask({"script": script})

    async def go_to(self, url: str) -> None:
        await self._ask({"goto": url})

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self._ask({"press": key})

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self._ask({"type": text})

    async def show(self, *, width: int = 1200, height: int = 800, scheme: str = "light") -> None:
        """Be of this size, for somebody who prefers this scheme of colours."""
        await self._ask({"show": {"width": width, "height": height, "scheme": scheme}})

    async def picture(self, path: Path) -> None:
        await self._ask({"picture": str(path)})

    async def complaints(self) -> list[str]:
        """What the page complained of since the last question."""
        found: list[str] = await self._ask({"complaints": True})
        return found

    async def until(self, claim: str) -> Any:
        """Wait until an expression is true in the page, and return what it is."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while not (found := await self.run(claim)):
                await asyncio.sleep(0.05)
        return found

    async def _ask(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_SECONDS)
        answer = json.loads(line or '{"error": "the browser has ended"}')
        assert "error" not in answer, answer["error"]
        return answer["result"]


@asynccontextmanager
async def browsing(url: str) -> AsyncIterator[Page]:
    """A page in a browser of its own, without the cookies and the cache of any other."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found is not None, "no browser: apt-get install chromium"
    process = await asyncio.create_subprocess_exec("node", "browse.mjs", found, url, stdin=PIPE, stdout=PIPE, cwd=HERE)
    try:
        yield Page(process)
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a program whose input is its life."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), ANSWER_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def origin() -> AsyncIterator[str]:
    """An origin with an empty page at every path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PAGE)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
