"""Closing of generators, which closes the connections that they hold."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class closing:  # of contextlib since Python 3.10
    """Closes an asynchronous generator at the end of a block."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __enter__(self) -> Any:
        return self._generator

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._generator.close()
