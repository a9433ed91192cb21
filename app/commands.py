"""The commands that speak HTTP to a service: import and tail."""

import gzip
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import httpx

CHUNK_BYTES = 256 * 1024
TIMEOUT = httpx.Timeout(connect=10, read=120, write=120, pool=10)
STREAM_TIMEOUT = httpx.Timeout(connect=10, read=60, write=10, pool=10)
RETRY_SECONDS = 2.0


def import_file(url: str, file: str, *, credentials: Mapping[str, str]) -> int:
    """Publish the lines of a file; progress goes to standard error, the result to standard output."""
    with open_lines(file) as lines:
        try:
            return send_import(url, chunks_of(lines), credentials)
        except httpx.TransportError as error:
            print(f"factwire: the import broke off: {str(error) or type(error).__name__}", file=sys.stderr)
            print("Run it again: facts with ids that are stored already are not written twice.", file=sys.stderr)
            return 1


def send_import(url: str, content: Iterator[bytes], credentials: Mapping[str, str]) -> int:
    headers = {"content-type": "application/x-ndjson", **credentials}
    with httpx.stream("POST", f"{url}/v1/facts/import", content=content, headers=headers, timeout=TIMEOUT) as response:
        if not response.is_success:
            print(response.read().decode(), file=sys.stderr)
            return 1
        last: dict[str, Any] = {}
        for line in lines_of(response):
            last = json.loads(line)
            if "progress" in last:
                print(line, file=sys.stderr, flush=True)
        print(json.dumps(last))
        return 0 if "result" in last else 1


def tail(url: str, *, after: str, filters: Mapping[str, Sequence[str]], credentials: Mapping[str, str]) -> int:
    """Print each fact as a line, for ever; a stream that ends is resumed behind the last event."""
    parameters = httpx.QueryParams(
        [("after", after), *((name, value) for name, values in filters.items() for value in values)]
    )
    headers = dict(credentials)
    while True:
        try:
            with httpx.stream(
                "GET", f"{url}/v1/stream", params=parameters, headers=headers, timeout=STREAM_TIMEOUT
            ) as response:
                if not response.is_success:
                    print(response.read().decode(), file=sys.stderr)
                    return 1
                for cursor, name, data in events_of(lines_of(response)):
                    headers["last-event-id"] = cursor
                    if name == "message":
                        print(data, flush=True)
                    elif name == "problem":
                        print(data, file=sys.stderr, flush=True)
        except httpx.TransportError as error:
            print(f"factwire: {str(error) or type(error).__name__}; trying again", file=sys.stderr)
        time.sleep(RETRY_SECONDS)


def lines_of(response: httpx.Response) -> Iterator[str]:
    """Lines that end with a line feed. iter_lines() also breaks at U+2028 and its like, which a payload may contain."""
    rest = b""
    for chunk in response.iter_bytes():
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield line.decode()
    if rest:
        yield rest.decode()


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """Cursor, name and data of each event. The service sends one data line an event, and an id with each."""
    cursor, name, data = "", "message", ""
    for line in lines:
        field, _, value = line.partition(": ")
        match field:
            case "id":
                cursor = value
            case "event":
                name = value
            case "data":
                data = value
            case "" if data:
                yield cursor, name, data
                name, data = "message", ""


def open_lines(file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    if Path(file).suffix == ".gz":
        return gzip.open(file)  # type: ignore[return-value]
    return Path(file).open("rb")


def chunks_of(lines: BinaryIO) -> Iterator[bytes]:
    """What is there to read, as it comes: a pipe's line is not held back until more arrive."""
    read = getattr(lines, "read1", lines.read)
    while chunk := read(CHUNK_BYTES):
        yield chunk
