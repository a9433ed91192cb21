"""When an attempt is repeated, and what is known of its outcome. No input or output happens here."""

from __future__ import annotations

import logging
import random
import time
from typing import Any

import httpx

from . import problems
from .answers import decoded, problem_of
from .errors import OutcomeUnknown, Problem, Unreachable

log = logging.getLogger(__name__)

PAUSE_SECONDS_MAX = 30.0
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# Failures before a byte of the request was sent.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Attempts:
    """The attempts of one request: repeated while the cause may pass, for at most `seconds`.

    `facts` and `body` are those of a publish. Once an attempt of it was lost on its way, only an answer that says what
    became of these ids counts as an outcome; `in_doubt` is true if that was before. `needs` is a member without which
    an answer is not that of the service.
    """

    def __init__(
        self,
        seconds: float,
        facts: list[Any] | None = None,
        body: bytes = b"",
        *,
        in_doubt: bool = False,
        needs: str | None = None,
    ) -> None:
        self._give_up_at = time.monotonic() + seconds
        self._facts = facts
        self._body = body
        self._tries = 0
        self._maybe_written = in_doubt
        self._needs = needs
        self._answered_by = 0.0
        self.pause = 0.0

    def begin(self, seconds: float) -> None:
        """The next attempt, whose answer has to be there within `seconds`."""
        self._answered_by = time.monotonic() + seconds

    def check_time(self) -> None:
        """Raises httpx.ReadTimeout if an answer arrives drop by drop."""
        if time.monotonic() > self._answered_by:
            raise httpx.ReadTimeout("the answer arrives too slowly")

    def lost(self, error: httpx.RequestError) -> None:
        """No answer came. Sets the pause before the next attempt. Raises Unreachable or OutcomeUnknown at the end."""
        if isinstance(error, httpx.UnsupportedProtocol):
            raise Unreachable(str(error)) from error
        self._maybe_written |= not isinstance(error, NEVER_SENT)
        self._again(f"{type(error).__name__}: {error}", None, error)

    def stopped(self, error: Exception) -> None:
        """Something other than the network ended an attempt. Raises OutcomeUnknown if one was lost before."""
        if self._facts is not None and self._maybe_written:
            raise OutcomeUnknown(f"an attempt got no answer, and then: {error}", self._facts, self._body) from error

    def answered(self, response: httpx.Response, content: bytes) -> bool:
        """True if a whole answer of the service is the outcome, false to try again. Raises Problem."""
        if response.is_success:
            if self._is_ours(content):
                return True
            self._maybe_written = True
            self._again("the answer is not that of the service", None, None)
            return False
        problem = problem_of(response, content)
        self._maybe_written |= tells_nothing(problem)
        if response.status_code in TRANSIENT:
            self._again(str(problem), response.headers.get("retry-after"), problem)
            return False
        if not is_decisive(problem):
            self.stopped(problem)
        raise problem

    def _is_ours(self, content: bytes) -> bool:
        """True for an object, which names the facts that were published if there are any, or an empty body."""
        if not content:
            return self._facts is None and self._needs is None
        try:
            members = decoded(content)
            if self._facts is None:
                return isinstance(members, dict) and (self._needs is None or self._needs in members)
            return [each["id"] for each in members["facts"]] == [each.id.lower() for each in self._facts]
        except (ValueError, KeyError, TypeError):
            return False

    def _again(self, why: str, asked: str | None, cause: Exception | None) -> None:
        self.pause = pause_seconds(self._tries, asked)
        self._tries += 1
        if time.monotonic() + self.pause < self._give_up_at:
            log.info("%s; trying again", why)
            return
        if self._facts is not None and self._maybe_written:
            raise OutcomeUnknown(why, self._facts, self._body) from cause
        if isinstance(cause, Problem):
            raise cause
        raise Unreachable(why) from cause


def is_decisive(problem: Problem) -> bool:
    """Whether a refusal says that earlier attempts wrote nothing, and that what is still on its way will not.

    Ids are looked up before anything else. What `fail_unless_match` misses may come, but what `fail_if_match` found
    stays. A lease that was lost stays lost.
    """
    if isinstance(problem, problems.ConditionFailed):
        return str(problem.members.get("item", "")).startswith("/fail_if_match/")
    return isinstance(problem, (problems.FactIdConflict, problems.LeaseLost))


def tells_nothing(problem: Problem) -> bool:
    """Whether a refusal leaves open if the facts were written: docs/problems.md names the three cases."""
    by_proxy = not problem.code and problem.status >= 500
    return by_proxy or isinstance(problem, (problems.OutcomeUnknown, problems.InternalError))


def pause_seconds(tries: int, asked: str | None = None) -> float:
    """Pause before the next attempt: as asked, or exponential; with jitter, so that clients spread out."""
    seconds = max(float(asked), 0.1) if asked is not None and asked.isdecimal() else 0.1 * 2.0 ** min(tries, 10)
    return min(seconds, PAUSE_SECONDS_MAX) * random.uniform(0.75, 1.25)
