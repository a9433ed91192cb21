"""Write facts as CloudEvents, one a line, either all that there are, or without an end, all that come:

python cloudevents_out.py 'http://127.0.0.1:8000/v1/facts/cloudevents?namespace=shop' > events.ndjson
python cloudevents_out.py 'http://127.0.0.1:8000/v1/stream/cloudevents?namespace=shop' [cursor]
"""

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx

HEADERS = {"authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
TIMEOUT = httpx.Timeout(10, read=45)  # three heartbeats that did not come: the connection is dead


def export(answer: httpx.Response) -> None:
    try:
        for chunk in answer.iter_bytes():
            sys.stdout.buffer.write(chunk)
    except httpx.TransportError:
        sys.exit("the export was cut: repeat it")


def arriving(chunks: Iterator[bytes]) -> Iterator[dict[bytes, bytes]]:
    rest = b""
    for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            yield dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)


def follow(answer: httpx.Response, cursor: str) -> str:
    """Write the events of one stream, and return the cursor at which it ended."""
    with suppress(httpx.TransportError):
        for event in arriving(answer.iter_bytes()):
            if b"event" not in event and b"data" in event:
                sys.stdout.buffer.write(event[b"data"] + b"\n")
                sys.stdout.flush()
            if event.get(b"event") != b"problem":
                cursor = event.get(b"id", cursor.encode()).decode()
    return cursor


def main(url: str, cursor: str = "start") -> None:
    while True:
        behind = httpx.URL(url).copy_set_param("after", cursor)
        with suppress(httpx.TransportError), httpx.stream("GET", behind, headers=HEADERS, timeout=TIMEOUT) as answer:
            if answer.is_client_error and answer.status_code not in (408, 429):
                sys.exit(answer.read().decode())  # a problem: going on would be wrong
            if answer.is_success and "ndjson" in answer.headers["content-type"]:
                return export(answer)
            if answer.is_success:
                cursor = follow(answer, cursor)
        time.sleep(random.uniform(1, 2))


if __name__ == "__main__":
    main(*sys.argv[1:])
