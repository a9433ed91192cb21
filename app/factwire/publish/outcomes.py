"""What becomes of the requests of a publisher, from what their call returned, or how it failed."""

from collections.abc import Iterator, Mapping, Sequence

import asyncpg

from factwire.domain import errors
from factwire.domain.errors import FactwireError, HistoryForked, OutcomeUnknown, Unavailable
from factwire.domain.fact import NewFact
from factwire.publish.batch import Outcome, Published
from factwire.publish.refusals import replay_or_conflict
from factwire.store import append
from factwire.store.append import KnownFact
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
    """The outcomes of facts up to the first that is in conflict with a stored one: None for those that are new.

    And why that one, or else the one after all of them, is refused.
    """
    outcomes: list[Published | None] = []
    for fact in facts:
        outcome = replay_or_conflict([fact], known) if fact.id in known else None
        if isinstance(outcome, FactwireError):
            return outcomes, outcome
        outcomes.append(outcome)
    return outcomes, otherwise


def split_outcome(published: Published) -> Iterator[Published]:
    """The outcome of each fact of a request."""
    for id, position in zip(published.ids, published.positions, strict=True):
        yield published._replace(ids=[id], positions=[position])


def outcome_label(outcome: Outcome | None) -> str:
    """How a publish ended, in one word of the metrics."""
    if outcome is None:
        return "abandoned"
    if isinstance(outcome, FactwireError):
        return outcome.code
    return "replayed" if outcome.replayed else "published"


def refusal_of(error: Exception) -> FactwireError | None:
    """What the failure of a call means for each of its requests; None where the database objects to what they carry."""
    if isinstance(error, (Unavailable, HistoryForked)):
        return error
    if append.is_forked(error):
        return HistoryForked(forked_after=append.forked_after_of(error))
    if not append.is_certainly_not_written(error):
        return OutcomeUnknown()
    if isinstance(error, (*CONNECTION_FAILURES, asyncpg.QueryCanceledError, asyncpg.CheckViolationError)):
        return Unavailable("The database could not take the facts.")
    return None
