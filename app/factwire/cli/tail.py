"""`factwire tail`: follow the log, reconnect after a stream has ended, and resume after the last printed fact."""

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from factwire.cli.arguments import Parser, add_filters, add_json, add_url
from factwire.cli.client import log_of
from factwire.cli.exit_codes import Exit, Stopped, leave
from factwire.cli.filter_items import query_of
from factwire.cli.output import Printer
from factwire.domain.position import parse_cursor
from factwire.settings import Settings

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

    query = query_of(options)
    place = CursorFile(options.cursor_file)
    place.load()
    printer = Printer(as_json=options.json)
    signal.signal(signal.SIGTERM, leave)  # so that the cursor is saved at the exit
    with place.kept(), log_of(settings) as log:
        for event in log.events(query, after=place.cursor or options.after):
            if event.name == "fact":
                printer.fact(event.data)
            place.cursor = event.cursor
            if event.name == "caught-up" and options.until_caught_up:
                return Exit.DONE
    return Exit.DONE


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

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Save the cursor regularly in a thread, as the follower may wait long for the next fact, and at the end.

        Raises the OSError of a save that failed: the follower is interrupted.
        """
        over = threading.Event()

        def keep() -> None:
            while not over.wait(SAVE_SECONDS) and self.failure is None:
                try:
                    self.save()
                except OSError as error:
                    self.failure = error
                    os.kill(os.getpid(), signal.SIGTERM)

        keeper = threading.Thread(target=keep, daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()
            if self.failure is not None:
                raise self.failure
            self.save()

    def save(self) -> None:
        if self.file is None or self.cursor == self.saved:
            return
        cursor = self.cursor
        new = self.file.with_name(f"{self.file.name}.new")
        new.write_text(f"{cursor}\n")
        os.replace(new, self.file)
        self.saved = cursor
