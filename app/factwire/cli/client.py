"""HTTP client of the commands: errors of the service as exit codes, and retries of transient failures."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

import factwire.client
from factwire.cli.exit_codes import Exit, Stopped
from factwire.client import Factwire, OutcomeUnknown, Problem, UnexpectedAnswer, Unreachable
from factwire.client.answers import problem_of
from factwire.client.retrying import TRANSIENT
from factwire.settings import Settings

TIMEOUT = httpx.Timeout(connect=10, read=120, write=120, pool=10)


class ServiceUnavailable(Exception):
    """The service reports itself unavailable; `asked` is the pause that it asks for, in seconds."""

    def __init__(self, message: str, asked: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.asked = asked


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


@contextmanager
def log_of(settings: Settings, *, give_up_seconds: float = 30.0) -> Iterator[Factwire]:
    """The log of the service at FACTWIRE_URL. Errors of the client end the command with their exit code."""
    reported = logging.StreamHandler(sys.stderr)
    reported.setFormatter(logging.Formatter("factwire: %(message)s"))
    logger = logging.getLogger(factwire.client.__name__)
    logger.addHandler(reported)
    logger.propagate = False
    with client_of(settings) as http:
        try:
            log = Factwire(settings.url, http=http, give_up_after=give_up_seconds)
        except ValueError as error:
            raise Stopped(f"--url or FACTWIRE_URL: {error}", Exit.USAGE) from None
        try:
            yield log
        except Problem as problem:
            raise stopped_by(problem) from None
        except (Unreachable, OutcomeUnknown) as error:
            raise Stopped(f"{settings.url}: {error}", Exit.UNREACHABLE) from None


def stopped_by(problem: Problem) -> Stopped:
    if problem.status in TRANSIENT:
        return Stopped(problem_text(problem), Exit.UNREACHABLE)
    return Stopped(problem_text(problem), Exit.CONFLICT if problem.status == 409 else Exit.FAILED)


def check(response: httpx.Response) -> httpx.Response:
    """Return a successful response. Raises ServiceUnavailable for a transient error and Stopped for any other one."""
    if response.is_success:
        return response
    response.read()
    problem = problem_of(response)
    if response.status_code in TRANSIENT:
        raise ServiceUnavailable(problem_text(problem), response.headers.get("retry-after"))
    raise stopped_by(problem)


def problem_text(problem: Problem) -> str:
    """Text of a refusal: readable on a terminal, unchanged JSON for programs."""
    if isinstance(problem, UnexpectedAnswer):
        return problem.detail
    if not sys.stderr.isatty():
        return problem.text
    return "\n".join([f"{problem.code}: {problem.detail}", *(f"  {each}" for each in problem.fields)])


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
