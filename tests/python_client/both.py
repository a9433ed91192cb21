"""One interface over both halves of the client, so that each test tries both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from factwire_client import AsyncFactwire, Factwire

both = pytest.mark.parametrize("half", ["tasks", "blocking"])


def client_of(half: str, url: str, **options: Any) -> Any:
    return AsyncFactwire(url, **options) if half == "tasks" else InThreads(Factwire(url, **options))


class InThreads:
    """The blocking client with the interface of the other one."""

    def __init__(self, log: Factwire) -> None:
        self._log = log

    async def __aenter__(self) -> "InThreads":
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._log.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._log, name)
        if name in ("read", "follow", "events"):
            return lambda *arguments, **named: taken(method(*arguments, **named))
        return lambda *arguments, **named: asyncio.to_thread(method, *arguments, **named)


async def taken(iterator: Iterator[Any]) -> AsyncIterator[Any]:
    """What a blocking iterator gives, each next one in a thread."""
    end = object()
    try:
        while (each := await asyncio.to_thread(next, iterator, end)) is not end:
            yield each
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
