"""`factwire import`: publish facts from a file, one per line; ids make the import idempotent."""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from factwire.cli.arguments import Parser, add_json, add_url
from factwire.cli.client import check, client_of, describe_failure, lines_of
from factwire.cli.exit_codes import Exit, Stopped
from factwire.cli.output import Bar, Printer, progress
from factwire.settings import Settings

CHUNK_BYTES = 256 * 1024
LINE_BYTES_MAX = 256 * 1024 * 1024  # no service accepts a longer line
AGAIN = "run it again: facts with ids are not stored twice"


EXAMPLE = "factwire import shop.ndjson.gz"


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=import_file)
    parser.add_argument("file", help="a file, possibly .gz, or - for standard input")
    parser.add_argument(
        "--published-at-meta", metavar="KEY", help="keep the published_at of each line in meta, under KEY"
    )
    add_url(parser)
    add_json(parser)


def import_file(options: argparse.Namespace, settings: Settings) -> int:
    """Publish the lines of a file. Progress goes to standard error, the result to standard output."""

    with client_of(settings) as client:
        last = import_lines(client, options.file, published_at_meta=options.published_at_meta)
    Printer(as_json=options.json).result(last, summary(last["result"]))
    return Exit.DONE


def import_lines(client: httpx.Client, file: str, *, published_at_meta: str | None = None) -> dict[str, Any]:
    """Publish the lines of a file and return the last line of the answer, a result. Raises Stopped."""
    with open_input(file) as (raw, lines):
        total = None if file == "-" else Path(file).stat().st_size
        with progress("importing", total=total, in_bytes=True) as bar:
            try:
                last = send(client, chunks_of(lines, raw, bar), published_at_meta=published_at_meta)
            except httpx.TransportError as error:
                raise Stopped(
                    f"the import was interrupted: {describe_failure(error)}\n{AGAIN}", Exit.UNREACHABLE
                ) from None
    if "result" not in last and "problem" not in last:
        raise Stopped(f"the answer was cut\n{AGAIN}", Exit.UNREACHABLE)
    if "problem" in last:
        problem = last["problem"]
        reason = json.dumps(last) if not sys.stderr.isatty() else f"line {problem['line']}: {problem['detail']}"
        raise Stopped(reason, Exit.CONFLICT if problem["status"] == 409 else Exit.FAILED)
    return last


def summary(counts: dict[str, Any]) -> str:
    skipped = [f"{count} {reason}" for reason, count in counts.get("skipped", {}).items() if count]
    left_out = f"; skipped: {', '.join(skipped)}" if skipped else ""
    return f"{counts['lines']} lines: {counts['published']} published, {counts['replayed']} published before{left_out}"


def send(client: httpx.Client, content: Iterator[bytes], *, published_at_meta: str | None) -> dict[str, Any]:
    """Send the chunks as one request and return the last line of the response."""
    last: dict[str, Any] = {}
    headers = {"content-type": "application/x-ndjson"}
    parameters = {} if published_at_meta is None else {"published_at_meta": published_at_meta}
    with client.stream("POST", "/v1/facts/import", params=parameters, content=content, headers=headers) as response:
        for line in lines_of(check(response)):
            last = json.loads(line)
            if "progress" in last and not sys.stderr.isatty():
                print(line, file=sys.stderr, flush=True)
    return last


@contextmanager
def open_input(file: str) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a file: the raw stream, and the stream of its decompressed content."""
    if file == "-":
        yield sys.stdin.buffer, sys.stdin.buffer
        return
    try:
        found = Path(file).open("rb")  # noqa: SIM115
    except OSError as error:
        raise Stopped(f"{file}: {error.strerror}", Exit.USAGE) from None
    with found as raw:
        if Path(file).suffix != ".gz":
            yield raw, raw
            return
        with gzip.open(raw) as unpacked:
            yield raw, unpacked  # type: ignore[misc]


def chunks_of(lines: BinaryIO, raw: BinaryIO, bar: Bar) -> Iterator[bytes]:
    """Chunks of whole lines, as soon as they can be read: a line from a pipe does not wait for further lines."""
    read = getattr(lines, "read1", lines.read)
    rest = b""
    while chunk := read(CHUNK_BYTES):
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            raise Stopped(f"a line has more than {LINE_BYTES_MAX} bytes", Exit.FAILED)
        if end:
            yield whole + end
        if raw.seekable():
            bar.advance_to(raw.tell())
    if rest:
        yield rest
