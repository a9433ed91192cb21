"""Closing of generators, which closes the connections that they hold."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class aclosing:  # of contextlib since Python 3.10
    """Closes an asynchronous generator at the end of a block."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    async def __aenter__(self) -> Any:
        return self._generator

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._generator.aclose()
