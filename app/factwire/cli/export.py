"""`factwire export`: write all facts up to the head as lines, and resume after a cut response."""

import argparse
import gzip
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx

from factwire.cli.arguments import Parser, add_filters, add_url, filters_of
from factwire.cli.client import ServiceUnavailable, check, client_of, describe_failure, log_of, report
from factwire.cli.exit_codes import Exit
from factwire.cli.output import progress
from factwire.client.retrying import pause_seconds
from factwire.settings import Settings

TRIES_MAX = 6
PATHS = {"facts": "/v1/facts/export", "cloudevents": "/v1/facts/cloudevents"}
# The first such member of a line is the one that the store wrote: in the text before it, quotes are escaped.
POSITIONS = {
    "facts": re.compile(rb'"position":(\d+)'),
    "cloudevents": re.compile(rb'"factposition":"(\d+)"'),
}


EXAMPLE = "factwire export --namespace shop --output shop.ndjson.gz"


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=export)
    add_filters(parser)
    parser.add_argument("--after", help="exclusive: a cursor, a position or the id of a fact (default: the start)")
    parser.add_argument("--until", help="inclusive: a cursor, a position or the id of a fact (default: the head)")
    parser.add_argument("--format", choices=list(PATHS), default="facts")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="a name that ends with .gz is compressed (default: standard output)"
    )
    add_url(parser)


def export(options: argparse.Namespace, settings: Settings) -> int:
    with log_of(settings) as log:
        head = log.request("GET", "/v1/position").json()
    with client_of(settings) as client, open_output(options.output) as output:
        parameters = [*filters_of(options), ("until", options.until or head["cursor"])]
        with progress("exporting, by position", total=head["head"]) as bar:
            exporting = ExportRun(client, options.format, parameters, epoch=head["cursor"].partition(":")[0])
            for lines in exporting.run(options.after or "start"):
                output.write(lines)
                bar.advance_to(exporting.position)
    print(f"factwire: exported {exporting.facts} facts", file=sys.stderr)
    return Exit.DONE


class ExportRun:
    """One export, over as many responses as it needs. A line that was cut off is requested again."""

    def __init__(self, client: httpx.Client, format: str, parameters: list[tuple[str, str]], *, epoch: str) -> None:
        self._client = client
        self._path = PATHS[format]
        self._position_in = POSITIONS[format]
        self._parameters = parameters
        self._epoch = epoch
        self.facts = 0
        self.position = 0

    def run(self, after: str) -> Iterator[bytes]:
        """Yield whole lines. Cursors name the epoch in which the export began: a new epoch refuses them."""

        tries = 0
        while True:
            facts_before = self.facts
            try:
                yield from self._answer(after)
                return
            except (httpx.TransportError, ServiceUnavailable) as error:
                tries = 0 if self.facts > facts_before else tries + 1
                if tries >= TRIES_MAX or isinstance(error, httpx.UnsupportedProtocol):
                    raise
                report(f"{describe_failure(error)}; continuing after position {self.position}")
                time.sleep(pause_seconds(tries, getattr(error, "asked", None)))
            if self.position:
                after = f"{self._epoch}:{self.position}"

    def _answer(self, after: str) -> Iterator[bytes]:
        rest = b""
        with self._client.stream("GET", self._path, params=[*self._parameters, ("after", after)]) as response:
            check(response)
            for chunk in response.iter_bytes():
                whole, end, rest = (rest + chunk).rpartition(b"\n")
                if end:
                    found = self._position_in.search(whole, whole.rfind(b"\n") + 1)
                    assert found is not None
                    self.position = int(found[1])
                    self.facts += whole.count(b"\n") + 1
                    yield whole + end


@contextmanager
def open_output(file: Path | None) -> Iterator[BinaryIO]:
    """Output stream of the export. A file gets its final name only after it is complete."""
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as plain:
        if file.suffix == ".gz":
            with gzip.GzipFile(filename="", fileobj=plain, mode="wb") as packed:
                yield packed  # type: ignore[misc]
        else:
            yield plain
        plain.flush()
        os.fsync(plain.fileno())
    os.replace(part, file)
