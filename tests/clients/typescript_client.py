"""The TypeScript client in Node or in a page of a real browser, in which a test runs scripts."""

import asyncio
import json
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.clients.browser import browsing, end
from tests.support.service import ROOT

HERE = Path(__file__).parent
TYPESCRIPT = ROOT / "clients" / "typescript"
SCRIPTS = HERE / "typescript_scripts.mjs"
ANSWER_SECONDS = 40.0
PAGE = b"""<!doctype html><script type="importmap">{"imports": {"@factwire/client": "/dist/index.js",
"eventsource-parser": "/node_modules/eventsource-parser/dist/index.js"}}</script>"""


class ScriptFailed(Exception):
    """An error of a script: its name, and its members."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error.get("stack") or f"{error['name']}: {error['message']}")
        self.name = error["name"]
        self.error = error


class InNode:
    """A Node program that runs one script after another."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, script: str, **given: Any) -> Any:
        """What a script returns. Raises ScriptFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"script": script, "given": given}).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(self._process.stdout.readline(), ANSWER_SECONDS))
        if "error" in answer:
            raise ScriptFailed(answer["error"])
        return answer["result"]


class InPage:
    """The same in a page."""

    def __init__(self, page: Any) -> None:
        self._page = page

    async def run(self, script: str, **given: Any) -> Any:
        called = f"""(async (given) => {{
          const client = await import("@factwire/client"), scripts = await import("/scripts.js");
          return scripts.{script}(client, given).then((result) => ({{ result }}),
            (error) => ({{ error: {{ name: error.name, message: String(error.message), ...error }} }}));
        }})({json.dumps(given)})"""
        answer = await self._page.run(called)
        if "error" in answer:
            raise ScriptFailed(answer["error"])
        return answer.get("result")


@asynccontextmanager
async def in_node(node: str = "node") -> AsyncIterator[InNode]:
    process = await asyncio.create_subprocess_exec(
        node, "run_typescript_client.mjs", stdin=PIPE, stdout=PIPE, cwd=HERE, limit=1 << 24
    )
    try:
        yield InNode(process)
    finally:
        await end(process)


class PageAndModules(SimpleHTTPRequestHandler):
    """A page at `/`, and the modules of the client."""

    def do_GET(self) -> None:
        own = {"/": ("text/html", PAGE), "/scripts.js": ("text/javascript", SCRIPTS.read_bytes())}
        if self.path not in own:
            return super().do_GET()
        kind, body = own[self.path]
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def page_origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(PageAndModules, directory=str(TYPESCRIPT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@asynccontextmanager
async def in_page(url: str) -> AsyncIterator[InPage]:
    async with browsing(url) as page:
        yield InPage(page)
