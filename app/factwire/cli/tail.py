"""`factwire tail`: follow the log, reconnect after a stream has ended, and resume after the last printed fact."""

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from factwire.cli.arguments import Parser, add_filters, add_json, add_url, filters_of
from factwire.cli.client import (
    STREAM_TIMEOUT,
    ServiceUnavailable,
    check,
    client_of,
    describe_failure,
    lines_of,
    pause_seconds,
    report,
)
from factwire.cli.exit_codes import Exit, Stopped, leave
from factwire.cli.output import Printer
from factwire.domain.position import parse_cursor
from factwire.settings import Settings

RETRY_SECONDS = 2.0
SAVE_SECONDS = 0.2
EXAMPLE = "factwire tail --namespace shop --after start --cursor-file shop.cursor"


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=tail)
    add_filters(parser)
    parser.add_argument(
        "--after", default="head", help="a cursor, a position, the id of a fact, start or head (default: head)"
    )
    parser.add_argument(
        "--cursor-file",
        type=Path,
        metavar="FILE",
        help="stores the cursor, and wins over --after if it exists; after a crash the last facts may be repeated",
    )
    parser.add_argument(
        "--until-caught-up", action="store_true", help="stop at the present head of the log; with --after"
    )
    add_url(parser)
    add_json(parser)


def tail(options: argparse.Namespace, settings: Settings) -> int:

    parameters = httpx.QueryParams([("after", options.after), *filters_of(options)])
    place = CursorFile(options.cursor_file)
    place.load()
    signal.signal(signal.SIGTERM, leave)  # so that the cursor is saved at the exit
    with place.kept(), client_of(settings) as client:
        return follow(client, parameters, place, Printer(as_json=options.json), options.until_caught_up)


def follow(
    client: httpx.Client, parameters: httpx.QueryParams, place: "CursorFile", printer: Printer, until_caught_up: bool
) -> int:
    """Print facts until stopped. Permanent errors are raised; transient errors are retried."""

    tries, retry_seconds = 0, RETRY_SECONDS
    while True:
        try:
            headers = {"last-event-id": place.cursor} if place.cursor else {}
            with client.stream(
                "GET", "/v1/stream", params=parameters, headers=headers, timeout=STREAM_TIMEOUT
            ) as response:
                for event in events_of(place.watched(lines_of(check(response)))):
                    tries = 0
                    retry_seconds = event.retry_seconds or retry_seconds
                    if event.name == "message":
                        printer.fact(event.data)
                    elif event.name == "problem":
                        report(json.loads(event.data)["detail"])
                    place.move(event.cursor)
                    if event.name == "caught-up" and until_caught_up:
                        return Exit.DONE
            pause = retry_seconds
        except (httpx.TransportError, ServiceUnavailable) as error:
            if isinstance(error, httpx.UnsupportedProtocol):
                raise
            report(f"{describe_failure(error)}; trying again")
            pause = max(retry_seconds, pause_seconds(tries))
            tries += 1
        time.sleep(pause)


@dataclass(slots=True)
class CursorFile:
    """Cursor of a follower, saved in a file if one is given: atomically, and only after its fact was printed."""

    file: Path | None
    cursor: str = ""
    saved: str = ""
    failure: OSError | None = None

    def load(self) -> None:
        if self.file is not None and not self.file.parent.is_dir():
            raise Stopped(f"{self.file.parent}: the folder does not exist", Exit.USAGE)
        if self.file is not None and self.file.exists():
            self.cursor = self.saved = self.file.read_text().strip()
            try:
                parse_cursor(self.cursor)
            except ValueError:
                raise Stopped(f"{self.file}: the file contains no cursor", Exit.USAGE) from None

    def move(self, cursor: str) -> None:
        self.cursor = cursor or self.cursor

    def watched(self, lines: Iterator[str]) -> Iterator[str]:
        """Lines of a stream, including heartbeats. Raises the OSError of a save of the cursor that failed."""
        for line in lines:
            if self.failure is not None:
                raise self.failure
            yield line

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Save the cursor regularly in a thread, as the follower may wait long for the next fact, and at the end."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(SAVE_SECONDS) and self.failure is None:
                try:
                    self.save()
                except OSError as error:  # raised in the follower, which then ends
                    self.failure = error

        keeper = threading.Thread(target=keep, daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()
            self.save()

    def save(self) -> None:
        if self.file is None or self.cursor == self.saved:
            return
        cursor = self.cursor
        new = self.file.with_name(f"{self.file.name}.new")
        new.write_text(f"{cursor}\n")
        os.replace(new, self.file)
        self.saved = cursor


@dataclass(slots=True)
class Event:
    """One server-sent event of a stream."""

    cursor: str = ""
    name: str = "message"
    data: str = ""
    retry_seconds: float = 0.0


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """Events of a stream. The service sends one data line per event, and an id with each event."""
    event = Event()
    for line in lines:
        field, _, value = line.partition(": ")
        match field:
            case "id":
                event.cursor = value
            case "event":
                event.name = value
            case "data":
                event.data = value
            case "retry" if value.isdecimal():
                event.retry_seconds = int(value) / 1000
            case "" if event.data:
                yield event
                event = Event()
