"""Every rule that a request can break, one class a rule.

The docstring is the title of the problem, `code` its stable slug, and `members` what a client needs to act on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a body (a JSON pointer) or one query parameter (its name)."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


def blaming(field: FieldError, *, otherwise: str = "") -> str:
    """What is wrong, with the field that it is wrong with."""
    name = field.pointer or field.parameter or otherwise
    return f"{name}: {field.detail}" if name else field.detail


class FactwireError(Exception):
    """Something that was asked for could not be done."""

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
        detail = f"There is no such parameter here; known are: {', '.join(known) or 'none'}."
        super().__init__(f"{parameter}: {detail}", errors=[FieldError(detail, parameter=parameter)])


class InvalidRequest(FactwireError):
    """A field is not allowed as it is."""

    code = "invalid-request"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(blaming(errors[0], otherwise="body"), errors=list(errors))


class LimitExceeded(FactwireError):
    """The request is beyond a limit."""

    code = "limit-exceeded"

    def __init__(self, limit: str, maximum: int, *, field: FieldError) -> None:
        super().__init__(blaming(field), limit=limit, maximum=maximum, errors=[field])


class BodyTooLarge(FactwireError):
    """The body is larger than the limit."""

    code = "body-too-large"

    def __init__(self, limit: str, maximum: int) -> None:
        super().__init__(f"A body may have at most {maximum} bytes.", limit=limit, maximum=maximum)


class UnsupportedMediaType(FactwireError):
    """The body is of another media type than the operation takes."""

    code = "unsupported-media-type"

    def __init__(self, expected: str) -> None:
        super().__init__(f"Send the body with content-type: {expected}.", expected=expected)


class MalformedBody(FactwireError):
    """The body is not what its Content-Encoding says."""

    code = "malformed-body"


class UnsupportedContentCoding(FactwireError):
    """The body has a Content-Encoding that the operation does not take."""

    code = "unsupported-content-coding"

    def __init__(self, known: Sequence[str]) -> None:
        expected = ", ".join(known) or "identity"
        super().__init__(f"Send the body with one of these codings, or without any: {expected}.", expected=expected)


class RequestTimeout(FactwireError):
    """The request did not arrive in time."""

    code = "request-timeout"


class Unauthenticated(FactwireError):
    """Credentials are missing, or do not hold."""

    code = "unauthenticated"


class Forbidden(FactwireError):
    """The credentials do not allow this."""

    code = "forbidden"

    def __init__(self, detail: str, *, field: FieldError | None = None) -> None:
        super().__init__(detail, **({} if field is None else {"errors": [field]}))


class KeyNotFound(FactwireError):
    """There is no such key."""

    code = "key-not-found"


class WrongHost(FactwireError):
    """The request is for a host that this service does not answer for."""

    code = "wrong-host"


class RateLimited(FactwireError):
    """More was asked for than is allowed in so short a time."""

    code = "rate-limited"

    def __init__(self, limit: str, *, retry_after_seconds: int) -> None:
        detail = f"The limit {limit} is reached. Come back in {retry_after_seconds} s."
        super().__init__(detail, limit=limit, retry_after_seconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class CrossOrigin(FactwireError):
    """A page of another origin may not do this."""

    code = "cross-origin"

    def __init__(
        self, detail: str = "With a cookie, what changes something must be sent by a page of this service itself."
    ) -> None:
        super().__init__(detail)


class FactIdConflict(FactwireError):
    """A fact with this id but other content is stored already."""

    code = "fact-id-conflict"

    def __init__(self, ids: Sequence[str], *, detail: str) -> None:
        super().__init__(detail, ids=list(ids))


class ConditionFailed(FactwireError):
    """A fact that the condition forbids has been published."""

    code = "condition-failed"

    def __init__(self, position: int, fact_id: str) -> None:
        super().__init__(
            f"The fact {fact_id} at position {position} matches the condition.", position=position, id=fact_id
        )


class ConditionTooExpensive(FactwireError):
    """The condition could not be evaluated within its time limit."""

    code = "condition-too-expensive"


class CursorForked(FactwireError):
    """The cursor is of another epoch, whose history may have been lost from there on."""

    code = "cursor-forked"

    def __init__(self, *, epoch: int, forked_after: int | None = None) -> None:
        if forked_after is None:
            super().__init__(f"The epoch is {epoch}; the cursor is of another one.", epoch=epoch)
        else:
            detail = f"The epoch is {epoch}; cursors of that older epoch are good up to position {forked_after}."
            super().__init__(detail, epoch=epoch, forked_after=forked_after)


class CursorAhead(FactwireError):
    """The cursor is beyond the head of the log."""

    code = "cursor-ahead"

    def __init__(self, *, epoch: int, head: int) -> None:
        super().__init__(f"The head of the log is at position {head} of epoch {epoch}.", epoch=epoch, head=head)


class StandbyBehind(FactwireError):
    """The cursor is beyond what this standby has received."""

    code = "standby-behind"

    def __init__(self, missing: str, *, head: int) -> None:
        super().__init__(f"The standby has received facts up to position {head}, and not yet {missing}.", head=head)


class CursorExpired(FactwireError):
    """The facts after the cursor are no longer all retained."""

    code = "cursor-expired"

    def __init__(self, *, floor: int) -> None:
        super().__init__(f"Facts up to position {floor} were archived.", floor=floor)


class FactNotFound(FactwireError):
    """There is no such fact."""

    code = "fact-not-found"


class NamespaceNotFound(FactwireError):
    """There is no fact in such a namespace."""

    code = "namespace-not-found"


class TypeNotFound(FactwireError):
    """There is no fact of such a type."""

    code = "type-not-found"


class DataSubjectErased(FactwireError):
    """The data subject was erased; nothing can be published about it."""

    code = "data-subject-erased"

    def __init__(self, data_subject: str) -> None:
        detail = f"The data subject {data_subject} was erased. Nothing was written."
        super().__init__(detail, data_subject=data_subject)


class DataSubjectNotFound(FactwireError):
    """There is no such data subject."""

    code = "data-subject-not-found"


class EncryptionNotConfigured(FactwireError):
    """The service has no master key, and takes no facts about data subjects."""

    code = "encryption-not-configured"


class KeyUnavailable(FactwireError):
    """A payload is encrypted under a master key that this service was not given."""

    code = "key-unavailable"


class FactReserved(FactwireError):
    """The fact tells of what was done to the log, and stays as it is."""

    code = "fact-reserved"


class HistoryForked(FactwireError):
    """History was replaced by another one: until the epoch is raised nothing is published, nor served from there on."""

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
    """There is no such path."""

    code = "not-found"


class MethodNotAllowed(FactwireError):
    """The path does not take this method."""

    code = "method-not-allowed"
