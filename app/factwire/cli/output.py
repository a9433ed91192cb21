"""Output of commands: JSON lines for programs, readable text for people, and progress on standard error."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

PAYLOAD_LENGTH_MAX = 2000
# Control characters, and characters that change the text direction: a terminal would obey them.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class PrintedFact(msgspec.Struct):
    """Members of a fact that are shown to people."""

    position: int
    published_at: str
    namespace: str
    type: str
    version: int
    aggregate_ids: list[str]
    payload: msgspec.Raw
    meta: dict[str, str | list[str]]


SHOWN = msgspec.json.Decoder(PrintedFact)


class Printer:
    """Prints facts on standard output: unchanged JSON for programs, one readable line per fact for people."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._for_people = self._console.is_terminal and not as_json

    def fact(self, line: str) -> None:
        if self._for_people:
            self._console.print(fact_text(line))
        else:
            print(line, flush=True)

    def result(self, members: dict[str, Any], text: str) -> None:
        """Print the result of a command: its members as JSON, or the text for people."""
        if self._for_people:
            self._console.print(Text(escape_controls(text)))
        else:
            print(msgspec.json.encode(members).decode(), flush=True)


def fact_text(line: str) -> Text:
    """A fact on one line, with colours if the terminal has them."""
    try:
        fact = SHOWN.decode(line)
    except msgspec.MsgspecError:  # a payload may hold JSON that only a lenient decoder accepts
        return Text(escape_controls(line))
    version = "" if fact.version == 1 else f" v{fact.version}"
    meta = " ".join(f"{key}={value if isinstance(value, str) else ','.join(value)}" for key, value in fact.meta.items())
    payload = bytes(fact.payload).decode()
    cut = "…" if len(payload) > PAYLOAD_LENGTH_MAX else ""
    return Text.assemble(
        (f"{fact.position:>8}", "bold"),
        (f"  {fact.published_at[:23].replace('T', ' ')}  ", "dim"),
        (f"{fact.namespace}/", "cyan"),
        (f"{fact.type}{version}", "bold cyan"),
        (escape_controls(f"  {' '.join(fact.aggregate_ids)}"), "green"),
        (escape_controls(f"  {meta}") if meta else "", "magenta"),
        f"  {escape_controls(payload[:PAYLOAD_LENGTH_MAX])}{cut}",
    )


def escape_controls(text: str) -> str:
    """Text with its control characters escaped, so that a terminal shows them and does not obey them."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@contextmanager
def progress(description: str, *, total: float | None, in_bytes: bool = False) -> Iterator["Bar"]:
    """Progress bar on standard error during a long operation; hidden if standard error is not a terminal."""
    console = Console(stderr=True)
    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        yield Bar(shown, shown.add_task(description, total=total))


class Bar:
    """Progress bar of one operation."""

    def __init__(self, shown: Progress, task: TaskID) -> None:
        self._shown = shown
        self._task = task

    def advance_to(self, done: float) -> None:
        self._shown.update(self._task, completed=done)
