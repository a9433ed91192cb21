"""Errors of the client. Refusals are classes by problem code, in problems.py, which is generated."""

from __future__ import annotations

from typing import Any


class FactwireError(Exception):
    """Base of all errors of this package."""


class Problem(FactwireError):
    """The service refused the request: nothing was written. Its subclasses are in `factwire_client.problems`."""

    code = ""

    def __init__(self, status: int, members: dict[str, Any], *, text: str = "") -> None:
        super().__init__(status, members)
        self.status = status
        self.members = members
        self.text = text

    @property
    def detail(self) -> str:
        return str(self.members.get("detail", ""))

    def __str__(self) -> str:
        said = [each for each in self.fields if each not in self.detail]
        return "; ".join([f"{self.code or self.status}: {self.detail}", *said])

    @property
    def fields(self) -> list[str]:
        """What is wrong with each field, after its pointer or the name of its parameter."""
        errors = (each for each in self.members.get("errors") or () if isinstance(each, dict))
        return [f"{each.get('pointer') or each.get('parameter')}: {each.get('detail')}" for each in errors]


class UnexpectedAnswer(Problem):
    """Something other than the service answered, such as a proxy, and asking again would not help."""


class Unreachable(FactwireError):
    """The service could not be reached, or could not serve, for as long as was tried. Nothing was written."""


class OutcomeUnknown(FactwireError):
    """An attempt to publish got no answer, and those after it did not tell either: the facts may have been written.

    `facts` has them with their ids, and `body` is the request, with its condition. `resume(error)` of the client sends
    it again: if they were written, it says so, and otherwise the condition still holds or fails.
    """

    def __init__(self, message: str, facts: list[Any], body: bytes) -> None:
        super().__init__(message)
        self.facts = facts
        self.body = body


class PayloadInvalid(FactwireError):
    """A payload does not fit the class that is registered for its type. `fact` has it as plain JSON."""

    def __init__(self, fact: Any, cause: Exception) -> None:
        kind = type(cause).__name__
        super().__init__(f"position {fact.position}, {fact.namespace}/{fact.type}: the payload does not fit ({kind})")
        self.fact = fact


class TooManyFacts(FactwireError):
    """A decision would have to read more facts than its limit."""


class TakenOver(FactwireError):
    """Another process moved the cursor of this view: this one has to stop."""


class TransactionLost(FactwireError):
    """The transaction of a view is not what it has to be: it was open before, or `apply` has ended it."""
