"""HTTP client of the commands: errors of the service as exit codes, and retries of transient failures."""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from factwire.cli.exit_codes import Exit, Stopped
from factwire.settings import Settings

T = TypeVar("T")

TIMEOUT = httpx.Timeout(connect=10, read=120, write=120, pool=10)
STREAM_TIMEOUT = httpx.Timeout(connect=10, read=75, write=10, pool=10)  # a heartbeat arrives at least once a minute
TRANSIENT = frozenset({408, 429, 502, 503, 504})
PAUSE_SECONDS_MAX = 30.0


class ServiceUnavailable(Exception):
    """The service cannot be reached or reports itself unavailable; `pause_seconds` is the pause that it asks for."""

    def __init__(self, message: str, pause_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.pause_seconds = pause_seconds


@contextmanager
def client_of(settings: Settings) -> Iterator[httpx.Client]:
    """HTTP client for the service at FACTWIRE_URL. Raises Stopped if the URL is invalid or the service unreachable."""
    headers = {**settings.credentials, "user-agent": "factwire"}
    if not settings.url.startswith(("http://", "https://")) or settings.url.rstrip("/").endswith("/v1"):
        message = f"expected the address of the service, such as http://127.0.0.1:8000, without /v1, not {settings.url}"
        raise Stopped(f"--url or FACTWIRE_URL: {message}", Exit.USAGE)
    try:
        with httpx.Client(base_url=settings.url, headers=headers, timeout=TIMEOUT, follow_redirects=False) as client:
            yield client
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Stopped(f"FACTWIRE_URL: {error}", Exit.USAGE) from None
    except httpx.TransportError as error:
        raise Stopped(f"{settings.url}: {describe_failure(error)}", Exit.UNREACHABLE) from None
    except ServiceUnavailable as error:
        raise Stopped(error.message, Exit.UNREACHABLE) from None


def check(response: httpx.Response) -> httpx.Response:
    """Return a successful response. Raises ServiceUnavailable for a transient error and Stopped for any other one."""
    if response.is_success:
        return response
    response.read()
    message = problem_text(response)
    if response.status_code in TRANSIENT:
        asked = response.headers.get("retry-after", "")
        raise ServiceUnavailable(message, float(asked) if asked.isdecimal() else None)
    raise Stopped(message, Exit.CONFLICT if response.status_code == 409 else Exit.FAILED)


def persist(attempt: Callable[[], T], *, seconds: float) -> T:
    """Retry an attempt for `seconds` while the service is unavailable or the connection to it fails."""
    give_up_at = time.monotonic() + seconds
    tries = 0
    while True:
        try:
            return attempt()
        except (httpx.TransportError, ServiceUnavailable) as error:
            pause = pause_seconds(tries, error.pause_seconds if isinstance(error, ServiceUnavailable) else None)
            if isinstance(error, httpx.UnsupportedProtocol) or time.monotonic() + pause > give_up_at:
                raise
            report(f"{describe_failure(error)}; trying again")
            time.sleep(pause)
            tries += 1


def pause_seconds(tries: int, asked: float | None = None) -> float:
    """Pause before the next attempt: as asked, else exponential backoff; with jitter, so that clients spread out."""
    return min(asked if asked is not None else 0.5 * 2**tries, PAUSE_SECONDS_MAX) * random.uniform(0.75, 1.25)


def problem_text(response: httpx.Response) -> str:
    """Text of an error response: readable on a terminal, unchanged JSON for programs."""
    try:
        problem = json.loads(response.content)
        code, detail = str(problem["type"]).rpartition(":")[2], str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.url.copy_with(query=None)} answered {response.status_code} {response.reason_phrase}"
    if not sys.stderr.isatty():
        return response.text
    wrong = [
        f"  {each.get('pointer') or each.get('parameter')}: {each['detail']}" for each in problem.get("errors", ())
    ]
    return "\n".join([f"{code}: {detail}", *wrong])


def describe_failure(error: Exception) -> str:
    return getattr(error, "message", "") or str(error) or type(error).__name__


def report(text: str) -> None:
    print(f"factwire: {text}", file=sys.stderr, flush=True)


def lines_of(response: httpx.Response) -> Iterator[str]:
    """Lines split at line feeds only. iter_lines() also splits at U+2028 and similar, which a payload may contain."""
    rest = b""
    for chunk in response.iter_bytes():
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield line.decode()
    if rest:
        yield rest.decode()
