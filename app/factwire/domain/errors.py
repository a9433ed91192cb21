"""Errors: every rule that a request can break, one class for each rule.

The docstring is the title of the problem (RFC 9457), `code` its stable slug, and `members` the data that a client needs
to act on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

COMPARED_MAX = 100  # characters of an unknown name that are compared with the known ones


@dataclass(frozen=True, slots=True)
class FieldError:
    """Error in one field of a body (a JSON pointer) or one query parameter (its name)."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


def blaming(field: FieldError, *, otherwise: str = "") -> str:
    """Message of a field error, with the name of the field."""
    name = field.pointer or field.parameter or otherwise
    return f"{name}: {field.detail}" if name else field.detail


class FactwireError(Exception):
    """Base class of all errors of a request."""

    code: ClassVar[str]

    def __init__(self, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members: Mapping[str, Any] = members

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or "").partition("\n")[0]


class MalformedJson(FactwireError):
    """The body is not JSON."""

    code = "malformed-json"


class MalformedParameter(FactwireError):
    """A parameter cannot be parsed."""

    code = "malformed-parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}", errors=[FieldError(detail, parameter=parameter)])


class UnknownParameter(FactwireError):
    """A parameter is not known to this operation."""

    code = "unknown-parameter"

    def __init__(self, parameter: str, known: Sequence[str]) -> None:
        close = get_close_matches(parameter[:COMPARED_MAX].lower(), known, n=1, cutoff=0.75)
        meant = f" Did you mean {close[0]}?" if close else ""
        detail = f"Unknown parameter.{meant} Known parameters: {', '.join(known) or 'none'}."
        super().__init__(f"{parameter}: {detail}", errors=[FieldError(detail, parameter=parameter)])


class InvalidRequest(FactwireError):
    """A field is invalid."""

    code = "invalid-request"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(blaming(errors[0], otherwise="body"), errors=list(errors))


class LimitExceeded(FactwireError):
    """The request exceeds a limit."""

    code = "limit-exceeded"

    def __init__(self, limit: str, maximum: int, *, field: FieldError) -> None:
        super().__init__(blaming(field), limit=limit, maximum=maximum, errors=[field])


class BodyTooLarge(FactwireError):
    """The body is larger than the limit."""

    code = "body-too-large"

    def __init__(self, limit: str, maximum: int) -> None:
        super().__init__(f"A body may have at most {maximum} bytes.", limit=limit, maximum=maximum)


class UnsupportedMediaType(FactwireError):
    """The operation does not accept the media type of the body."""

    code = "unsupported-media-type"

    def __init__(self, expected: str, *, otherwise: str = "") -> None:
        super().__init__(f"Send the body with content-type: {expected}{otherwise}.", expected=expected)


class MalformedBody(FactwireError):
    """The body does not match its Content-Encoding."""

    code = "malformed-body"


class UnsupportedContentCoding(FactwireError):
    """The operation does not accept the Content-Encoding of the body."""

    code = "unsupported-content-coding"

    def __init__(self, known: Sequence[str]) -> None:
        expected = ", ".join(known) or "identity"
        super().__init__(f"Send the body with one of these codings, or without any: {expected}.", expected=expected)


class RequestTimeout(FactwireError):
    """The request did not arrive in time."""

    code = "request-timeout"


class Unauthenticated(FactwireError):
    """Credentials are missing or not valid."""

    code = "unauthenticated"


class Forbidden(FactwireError):
    """The credentials do not allow this."""

    code = "forbidden"

    def __init__(self, detail: str, *, field: FieldError | None = None) -> None:
        super().__init__(detail, **({} if field is None else {"errors": [field]}))


class KeyNotFound(FactwireError):
    """The key does not exist."""

    code = "key-not-found"


class WrongHost(FactwireError):
    """The request is for a host that this service does not serve."""

    code = "wrong-host"


class RateLimited(FactwireError):
    """A rate limit or quota is reached."""

    code = "rate-limited"

    def __init__(self, limit: str, *, retry_after_seconds: int) -> None:
        detail = f"The limit {limit} is reached. Come back in {retry_after_seconds} s."
        super().__init__(detail, limit=limit, retry_after_seconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class CrossOrigin(FactwireError):
    """A page of another origin may not do this."""

    code = "cross-origin"

    def __init__(
        self,
        detail: str = "With a session cookie, requests that change something must come from a page of this service.",
    ) -> None:
        super().__init__(detail)


class FactIdConflict(FactwireError):
    """A fact with this id but different content is already stored."""

    code = "fact-id-conflict"

    def __init__(self, ids: Sequence[str], *, detail: str) -> None:
        super().__init__(detail, ids=list(ids))


class ConditionFailed(FactwireError):
    """The condition does not hold: a fact matches that it forbids, or none that it needs."""

    code = "condition-failed"

    def __init__(
        self, item: str, position: int | None, fact_id: str | None, *, head_cursor: str, whole_log: bool = False
    ) -> None:
        if position is None:
            detail = f"{item}: no fact matches."
        elif whole_log:
            detail = (
                f"{item}: the fact {fact_id} at position {position} matches, and none in the log may. "
                "It may be of your own first attempt."
            )
        else:
            detail = (
                f"{item}: the fact {fact_id} at position {position} matches, and came after what was read. "
                "Read and decide again."
            )
        super().__init__(detail, item=item, position=position, id=fact_id, head_cursor=head_cursor)


class ConditionTooExpensive(FactwireError):
    """The condition could not be evaluated within its time limit."""

    code = "condition-too-expensive"


class CursorForked(FactwireError):
    """The cursor is of another epoch, and the history after it may have been lost."""

    code = "cursor-forked"

    def __init__(self, *, epoch: int, forked_after: int | None = None) -> None:
        if forked_after is None:
            super().__init__(f"The epoch is {epoch}; the cursor is of another one.", epoch=epoch)
        else:
            detail = f"The epoch is {epoch}; cursors of that older epoch are good up to position {forked_after}."
            super().__init__(detail, epoch=epoch, forked_after=forked_after)


class CursorAhead(FactwireError):
    """The cursor is past the head of the log."""

    code = "cursor-ahead"

    def __init__(self, *, epoch: int, head: int) -> None:
        super().__init__(f"The head of the log is at position {head} of epoch {epoch}.", epoch=epoch, head=head)


class StandbyBehind(FactwireError):
    """The standby has not yet received all facts up to the cursor."""

    code = "standby-behind"

    def __init__(self, missing: str, *, head: int) -> None:
        super().__init__(f"The standby has received facts up to position {head}, and not yet {missing}.", head=head)


class CursorExpired(FactwireError):
    """Some facts after the cursor are no longer retained."""

    code = "cursor-expired"

    def __init__(self, *, floor: int) -> None:
        super().__init__(f"Facts up to position {floor} were archived.", floor=floor)


class FactNotFound(FactwireError):
    """The fact does not exist."""

    code = "fact-not-found"


class NamespaceNotFound(FactwireError):
    """The namespace has no facts."""

    code = "namespace-not-found"


class TypeNotFound(FactwireError):
    """The type has no facts."""

    code = "type-not-found"


class DataSubjectErased(FactwireError):
    """The data subject was erased; nothing can be published about it."""

    code = "data-subject-erased"

    def __init__(self, data_subject: str) -> None:
        detail = f"The data subject {data_subject} was erased. Nothing was written."
        super().__init__(detail, data_subject=data_subject)


class DataSubjectNotFound(FactwireError):
    """The data subject does not exist."""

    code = "data-subject-not-found"


class EncryptionNotConfigured(FactwireError):
    """The service has no master key and accepts no facts about data subjects."""

    code = "encryption-not-configured"


class KeyUnavailable(FactwireError):
    """A payload is encrypted under a master key that this service does not have."""

    code = "key-unavailable"


class FactReserved(FactwireError):
    """The fact records an operation on the log and cannot be changed."""

    code = "fact-reserved"


class HistoryForked(FactwireError):
    """The history has forked: until the epoch is raised, nothing is published, nor served after the fork."""

    code = "history-forked"

    def __init__(self, *, forked_after: int | None) -> None:
        if forked_after is None:
            super().__init__(
                "Facts were replaced by others after an unknown position. Find the last one that both histories have, "
                "N, and run `factwire epoch raise --forked-after N`."
            )
        else:
            super().__init__(
                f"Facts after position {forked_after} were replaced by others. "
                f"Run `factwire epoch raise --forked-after {forked_after}`.",
                forked_after=forked_after,
            )


class LogDamaged(FactwireError):
    """A fact that must be stored is missing: the database is damaged."""

    code = "log-damaged"


class Unavailable(FactwireError):
    """The service cannot do this at the moment; nothing was written."""

    code = "unavailable"


class JobLeaseLost(Unavailable):
    """The job that publishes has lost its lease. Nothing was written. No request of a client has a lease."""

    def __init__(self) -> None:
        super().__init__("The job has lost its lease: another process may be doing it.")


class EffectVoid(Unavailable):
    """The object of an effect has changed: it was recorded already, or must not be. Nothing was written."""

    def __init__(self) -> None:
        super().__init__("What was to be recorded is recorded already, or has changed.")


class OutcomeUnknown(FactwireError):
    """The connection was lost while publishing; repeat the request with these ids to learn the outcome."""

    code = "outcome-unknown"

    def __init__(self, ids: Sequence[str] = (), *, detail: str = "") -> None:
        super().__init__(
            detail or "The facts may or may not have been published. Repeating the request with the same ids is safe.",
            ids=list(ids),
        )


class InternalError(FactwireError):
    """The service failed; the cause is in its log."""

    code = "internal-error"


class PathNotFound(FactwireError):
    """The path does not exist."""

    code = "not-found"


class MethodNotAllowed(FactwireError):
    """The path does not take this method."""

    code = "method-not-allowed"
