"""When an attempt is repeated, and what is known of its outcome. No input or output happens here."""

from __future__ import annotations

import json
import logging
import random
import time
from typing import Any

import httpx

from . import problems
from .answers import problem_of
from .errors import OutcomeUnknown, Problem, Unreachable

log = logging.getLogger(__name__)

PAUSE_SECONDS_MAX = 30.0
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# Failures before a byte of the request was sent.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# Ids are looked up before anything else, so these say that earlier attempts wrote nothing.
DECISIVE = (problems.ConditionFailed, problems.FactIdConflict)


class Attempts:
    """The attempts of one request: repeated while the cause may pass, for at most `seconds`.

    `facts` are those of a publish. Once an attempt of it was lost on its way, only an answer that says what became of
    these ids counts as an outcome.
    """

    def __init__(self, seconds: float, facts: list[Any] | None = None) -> None:
        self._give_up_at = time.monotonic() + seconds
        self._facts = facts
        self._tries = 0
        self._maybe_written = False
        self.pause = 0.0

    def lost(self, error: httpx.RequestError) -> None:
        """No answer came. Sets the pause before the next attempt. Raises Unreachable or OutcomeUnknown at the end."""
        if isinstance(error, httpx.UnsupportedProtocol):
            raise Unreachable(str(error)) from error
        self._maybe_written |= not isinstance(error, NEVER_SENT)
        self._again(f"{type(error).__name__}: {error}", None, error)

    def members(self, response: httpx.Response) -> Any:
        """Members of a whole answer of the service; None if the attempt has to be repeated. Raises Problem."""
        if response.is_success:
            try:
                return json.loads(response.content)
            except ValueError as error:
                self._maybe_written = True
                return self._again("the answer is not JSON", None, error)
        problem = problem_of(response)
        self._maybe_written |= tells_nothing(problem)
        if response.status_code in TRANSIENT:
            return self._again(str(problem), response.headers.get("retry-after"), problem)
        if self._facts is not None and self._maybe_written and not isinstance(problem, DECISIVE):
            raise OutcomeUnknown(f"an attempt got no answer, and the next one: {problem}", self._facts) from problem
        raise problem

    def _again(self, why: str, asked: str | None, cause: Exception) -> None:
        self.pause = pause_seconds(self._tries, asked)
        self._tries += 1
        if time.monotonic() + self.pause < self._give_up_at:
            log.info("%s; trying again", why)
            return
        if self._facts is not None and self._maybe_written:
            raise OutcomeUnknown(why, self._facts) from cause
        if isinstance(cause, Problem):
            raise cause
        raise Unreachable(why) from cause


def tells_nothing(problem: Problem) -> bool:
    """Whether a refusal leaves open if the facts were written: docs/problems.md names the three cases."""
    by_proxy = not problem.code and problem.status >= 500
    return by_proxy or isinstance(problem, (problems.OutcomeUnknown, problems.InternalError))


def pause_seconds(tries: int, asked: str | None = None) -> float:
    """Pause before the next attempt: as asked, or exponential; with jitter, so that clients spread out."""
    seconds = float(asked) if asked is not None and asked.isdecimal() else 0.1 * 2.0 ** min(tries, 10)
    return min(seconds, PAUSE_SECONDS_MAX) * random.uniform(0.75, 1.25)
