"""Publish CloudEvents, one a line: python cloudevents_in.py http://127.0.0.1:8000 < events.ndjson

It may be repeated: an event is known by its `source` and `id`.
"""

import os
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice

import httpx

HEADERS = {"authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
ONE, SEVERAL = "application/cloudevents+json", "application/cloudevents-batch+json"
BATCH = 100
ATTEMPTS = 20


def batches(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    events = (line.strip() for line in lines if line.strip())
    while batch := list(islice(events, BATCH)):
        yield batch


def post(client: httpx.Client, media_type: str, body: bytes) -> httpx.Response:
    """The answer to a publish, which is repeated where its outcome is not known."""
    for attempt in range(ATTEMPTS):
        try:
            answer = client.post("/v1/facts/cloudevents", content=body, headers={"content-type": media_type})
            if not answer.is_server_error and answer.status_code not in (408, 429):
                return answer
        except httpx.TransportError as problem:
            print(problem, file=sys.stderr)
        time.sleep(random.uniform(0, min(5, 0.1 * 2**attempt)))
    sys.exit("the service is away: repeat all of it")


def publish(client: httpx.Client, batch: list[bytes]) -> None:
    answer = post(client, SEVERAL, b"[%s]" % b",".join(batch))
    if answer.status_code == 409 and "urn:factwire:problem:fact-id-conflict" in answer.text:
        for event in batch:  # some of them are known: tell them apart
            check(post(client, ONE, event))
    else:
        check(answer)


def check(answer: httpx.Response) -> None:
    if not answer.is_success:
        sys.exit(answer.text)


def main(url: str) -> None:
    with httpx.Client(base_url=url, headers=HEADERS, timeout=30) as client:
        for batch in batches(iter(sys.stdin.buffer)):
            publish(client, batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
