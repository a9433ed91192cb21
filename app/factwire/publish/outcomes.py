"""Outcomes of publish requests, derived from the result or the failure of their append call."""

from collections.abc import Iterator, Mapping, Sequence

import asyncpg

from factwire.domain import errors
from factwire.domain.errors import FactwireError, HistoryForked, OutcomeUnknown, Unavailable
from factwire.domain.fact import NewFact
from factwire.domain.subscription_errors import EarlierOpen, LeaseLost
from factwire.publish.batch import Outcome, Published
from factwire.publish.refusals import replay_or_conflict
from factwire.store import append
from factwire.store.known_facts import KnownFact
from factwire.store.pools import CONNECTION_FAILURES

OUTCOMES = (
    "published",
    "replayed",
    "abandoned",
    *(
        error.code
        for error in (
            errors.FactIdConflict,
            errors.ConditionFailed,
            errors.ConditionTooExpensive,
            errors.CursorForked,
            errors.CursorAhead,
            errors.DataSubjectErased,
            LeaseLost,
            EarlierOpen,
            errors.HistoryForked,
            errors.LogDamaged,
            errors.Unavailable,
            errors.OutcomeUnknown,
            errors.InternalError,
        )
    ),
)


def outcomes_of_known(
    facts: Sequence[NewFact], known: Mapping[str, KnownFact], *, otherwise: FactwireError | None
) -> tuple[list[Published | None], FactwireError | None]:
    """Outcomes of facts up to the first that conflicts with a stored one, with None for each new fact.

    The second value is the refusal of that fact, or else `otherwise`, the refusal of the fact after all of them.
    """
    outcomes: list[Published | None] = []
    for fact in facts:
        outcome = replay_or_conflict([fact], known) if fact.id in known else None
        if isinstance(outcome, FactwireError):
            return outcomes, outcome
        outcomes.append(outcome)
    return outcomes, otherwise


def split_outcome(published: Published) -> Iterator[Published]:
    """Split the outcome of a request into one for each fact."""
    for id, position in zip(published.ids, published.positions, strict=True):
        yield published._replace(ids=[id], positions=[position])


def outcome_label(outcome: Outcome | None) -> str:
    """Label of a publish outcome in the metrics."""
    if outcome is None:
        return "abandoned"
    if isinstance(outcome, FactwireError):
        return outcome.code
    return "replayed" if outcome.replayed else "published"


def refusal_of(error: Exception) -> FactwireError | None:
    """Refusal of each request of a failed append call; None if the database rejected the content of a request."""
    if isinstance(error, (Unavailable, HistoryForked)):
        return error
    if append.is_forked(error):
        return HistoryForked(forked_after=append.forked_after_of(error))
    if not append.is_certainly_not_written(error):
        return OutcomeUnknown()
    if isinstance(error, (*CONNECTION_FAILURES, asyncpg.QueryCanceledError, asyncpg.CheckViolationError)):
        return Unavailable("The database could not take the facts.")
    return None
