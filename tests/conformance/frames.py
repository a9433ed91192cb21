"""A strict parser of the bytes of a stream: what the contract does not allow is an error, not leniency."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_CURSOR = re.compile(r"[1-9][0-9]*:[0-9]+")
# A client never sees a listener for these, or sees them as something else.
_FORBIDDEN_EVENTS = {"", "error", "open", "message"}


@dataclass(frozen=True, slots=True)
class Frame:
    """One event: its fields, and its bytes from the first field to the blank line."""

    event: str
    id: str
    data: bytes
    text: bytes

    @property
    def position(self) -> int:
        return int(self.id.partition(":")[2])

    def json(self) -> Any:
        return json.loads(self.data)


@dataclass(slots=True)
class FrameParser:
    """Bytes in, frames out; raises AssertionError where the framing rules are broken."""

    heartbeats: int = 0
    retry_milliseconds: int | None = None
    opened: bool = False
    _rest: bytes = b""
    _lines: list[bytes] = field(default_factory=list)

    def feed(self, piece: bytes) -> list[Frame]:
        assert b"\r" not in piece, "only line feeds end lines"
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [frame for line in lines if (frame := self._line(line)) is not None]

    def finish(self) -> None:
        assert (self._rest, self._lines) == (b"", []), "the stream was cut in the middle of an event"

    def _line(self, line: bytes) -> Frame | None:
        line.decode("utf-8", "strict")
        if self.retry_milliseconds is None:
            assert re.fullmatch(rb"retry: [0-9]+", line), f"a stream starts with retry, not {line!r}"
            self.retry_milliseconds = int(line[7:])
        elif not self.opened:
            assert line == b":ok", f"retry is followed by :ok, not {line!r}"
            self.opened = True
        elif line == b":":
            assert not self._lines, "a heartbeat inside of an event"
            self.heartbeats += 1
        elif line:
            self._lines.append(line)
        else:
            return self._event()
        return None

    def _event(self) -> Frame:
        lines, self._lines = self._lines, []
        event, id_, data = _fields(lines)
        return Frame(event=event, id=id_, data=data, text=b"\n".join([*lines, b"", b""]))


def _fields(lines: list[bytes]) -> tuple[str, str, bytes]:
    names = [line.partition(b": ")[0] for line in lines]
    # The data first: some clients keep an id as soon as they have read its line, and would skip what is cut behind it.
    assert names in ([b"data", b"id"], [b"event", b"data", b"id"]), f"not the fields of an event: {lines!r}"
    values = [line.partition(b": ")[2] for line in lines]
    event = values[0].decode() if len(values) == 3 else ""
    assert len(values) == 2 or event not in _FORBIDDEN_EVENTS, f"an event is never named {event!r}"
    id_ = values[-1].decode()
    assert _CURSOR.fullmatch(id_), f"an id is a cursor, not {id_!r}"
    assert values[-2], "an event has data"
    return event, id_, values[-2]
