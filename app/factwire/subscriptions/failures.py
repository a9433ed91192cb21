"""Errors of calls for subscriptions that failed."""

import logging

import asyncpg

from factwire.domain.errors import FactwireError, InternalError, OutcomeUnknown, Unavailable
from factwire.store.append import is_certainly_not_written
from factwire.store.pools import CONNECTION_FAILURES

log = logging.getLogger(__name__)


def failure_of(error: Exception) -> FactwireError:
    """Error of a call that may have acknowledged facts."""
    if isinstance(error, FactwireError):
        return error
    if not isinstance(error, (*CONNECTION_FAILURES, asyncpg.PostgresError)):
        log.error("a call for a subscription failed", exc_info=error)
        return InternalError("The call failed.")
    if not is_certainly_not_written(error):
        return OutcomeUnknown(detail="The acknowledgements may or may not be stored. Repeating the request is safe.")
    if isinstance(error, (*CONNECTION_FAILURES, asyncpg.QueryCanceledError)):
        return Unavailable("The database did not answer.")
    log.error("a call for a subscription failed", exc_info=error)
    return InternalError("The call failed.")


def failure_of_claim(error: Exception) -> FactwireError:
    """Error of a claim: facts that it may have got come again, so that it may be repeated."""
    failure = failure_of(error)
    return Unavailable(failure.detail) if isinstance(failure, OutcomeUnknown) else failure
