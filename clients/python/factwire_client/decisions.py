"""A decision over facts that were read, repeated when another fact came first. No input or output happens here."""

from __future__ import annotations

import random
from typing import Callable, List, Sequence, Union

from .errors import TooManyFacts
from .facts import Fact, NewFact, Page
from .problems import ConditionFailed, CursorAhead, CursorForked

Decided = Union[NewFact, Sequence[NewFact], None]


class Deciding:
    """What was read so far, and the cursor up to which: the bound of the condition."""

    # After a fail-over that lost facts, a cursor is of a history that is gone: everything is read again.
    REPEATED = (ConditionFailed, CursorForked, CursorAhead)

    def __init__(self, attempts: int, facts_max: int) -> None:
        self._left = attempts
        self._facts_max = facts_max
        self._facts: List[Fact] = []
        self.after = "start"
        self.is_informed = False
        self.pause = 0.0

    def see(self, page: Page) -> None:
        self._facts += page.facts
        if len(self._facts) > self._facts_max:
            raise TooManyFacts(f"more than {self._facts_max} facts match: narrow the query, or raise facts_max")
        self.is_informed = page.caught_up
        self.after = page.head_cursor or page.cursor

    def decided(self, decision: Callable[[List[Fact]], Decided]) -> list[NewFact]:
        decided = decision(list(self._facts))
        if decided is None:
            return []
        facts = [decided] if isinstance(decided, NewFact) else decided
        if not isinstance(facts, (list, tuple)) or not all(isinstance(each, NewFact) for each in facts):
            raise TypeError(f"a decision is a NewFact, a list of them, or None, and not {decided!r:.80}")
        return list(facts)

    def overtaken(self, error: Exception) -> None:
        """Read on and decide again. Raises the error after the last attempt."""
        self._left -= 1
        if self._left <= 0:
            raise error
        self.is_informed = False
        self.pause = random.uniform(0, 0.05)
        if not isinstance(error, ConditionFailed):
            self._facts, self.after = [], "start"
