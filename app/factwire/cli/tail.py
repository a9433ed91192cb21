"""`factwire tail`: follow the log, come back wherever a stream ended, and go on behind what was printed."""

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
    parser.add_argument("--after", default="head", help="a cursor, a position, the id of a fact, start or head; head")
    parser.add_argument(
        "--cursor-file",
        type=Path,
        metavar="FILE",
        help="keeps the cursor; where it exists it wins over --after, and after a crash the last facts may come again",
    )
    parser.add_argument("--until-caught-up", action="store_true", help="end where the log ends now; with --after")
    add_url(parser)
    add_json(parser)


def tail(options: argparse.Namespace, settings: Settings) -> int:

    parameters = httpx.QueryParams([("after", options.after), *filters_of(options)])
    place = CursorFile(options.cursor_file)
    place.load()
    signal.signal(signal.SIGTERM, leave)  # so that the cursor is saved on the way out
    with place.kept(), client_of(settings) as client:
        return follow(client, parameters, place, Printer(as_json=options.json), options.until_caught_up)


def follow(
    client: httpx.Client, parameters: httpx.QueryParams, place: "CursorFile", printer: Printer, until_caught_up: bool
) -> int:
    """Print facts until told to stop. What is wrong for good is raised; what may pass is waited out."""

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
    """Where a follower is, kept in a file if there is one: whole, and only behind what was printed."""

    file: Path | None
    cursor: str = ""
    saved: str = ""
    failure: OSError | None = None

    def load(self) -> None:
        if self.file is not None and not self.file.parent.is_dir():
            raise Stopped(f"{self.file.parent}: there is no such folder", Exit.USAGE)
        if self.file is not None and self.file.exists():
            self.cursor = self.saved = self.file.read_text().strip()
            try:
                parse_cursor(self.cursor)
            except ValueError:
                raise Stopped(f"{self.file}: there is no cursor in it", Exit.USAGE) from None

    def move(self, cursor: str) -> None:
        self.cursor = cursor or self.cursor

    def watched(self, lines: Iterator[str]) -> Iterator[str]:
        """The lines of a stream, heartbeats included, for as long as the cursor can be saved."""
        for line in lines:
            if self.failure is not None:
                raise self.failure
            yield line

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Save it now and then beside the follower, which may wait long for the next fact, and at the end."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(SAVE_SECONDS) and self.failure is None:
                try:
                    self.save()
                except OSError as error:  # told by the follower, which goes no further
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
    """One event of a stream."""

    cursor: str = ""
    name: str = "message"
    data: str = ""
    retry_seconds: float = 0.0


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream. The service sends one data line an event, and an id with each."""
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
