"""Refusals by problem code, written by clients/generate.py from docs/problems.md."""

from __future__ import annotations

from .errors import Problem


class BodyTooLarge(Problem):
    """413. The body is larger than `FACTWIRE_BODY_BYTES_MAX`."""

    code = "body-too-large"


class ConditionFailed(Problem):
    """409. The condition does not hold: a fact matches an item of `fail_if_match`, or no fact matches an item of `fail_unless_match`."""

    code = "condition-failed"


class ConditionTooExpensive(Problem):
    """422. The search for the condition had to examine so many facts that it took longer than `FACTWIRE_CONDITION_SECONDS`."""

    code = "condition-too-expensive"


class CrossOrigin(Problem):
    """403. The request would change something, and the browser reports that the page of another site sent it."""

    code = "cross-origin"


class CursorAhead(Problem):
    """409. The cursor is beyond the head of the log: it is from another log, or facts were lost and the epoch was not raised."""

    code = "cursor-ahead"


class CursorExpired(Problem):
    """410. Facts after the cursor are not retained: all facts up to `floor` were archived."""

    code = "cursor-expired"


class CursorForked(Problem):
    """409. The cursor is from another epoch, and the history after it may have been replaced: facts were lost in a fail-over or a restore."""

    code = "cursor-forked"


class DataSubjectErased(Problem):
    """409. The data subject of a fact was erased: its key is permanently gone, and nothing can be published about it."""

    code = "data-subject-erased"


class DataSubjectNotFound(Problem):
    """404. No fact was ever published about this data subject, so there is nothing to erase."""

    code = "data-subject-not-found"


class EarlierOpen(Problem):
    """409. An earlier fact of the same aggregate, claimed together with this one, is still open."""

    code = "earlier-open"


class EncryptionNotConfigured(Problem):
    """422. A fact has a data subject, and the service has no master key."""

    code = "encryption-not-configured"


class FactIdConflict(Problem):
    """409. At least one id of the request is already stored, and the request as a whole is not a retry: the content differs, or only some of its ids are stored."""

    code = "fact-id-conflict"


class FactNotFound(Problem):
    """404. No fact has this id or position, or the credentials may not read it."""

    code = "fact-not-found"


class FactReserved(Problem):
    """409. The fact is in the namespace `factwire`: it records what was done to the log, and cannot be changed."""

    code = "fact-reserved"


class Forbidden(Problem):
    """403. The credentials do not allow one of these actions: to publish in the namespace of one of the facts, to use a condition over data that they may not read, to manage keys, or to grant more rights than they have."""

    code = "forbidden"


class HeadersTooLarge(Problem):
    """431. The headers of the request, including its URL, are larger than `FACTWIRE_HEADER_BYTES_MAX`, or there are more headers than `FACTWIRE_HEADERS_MAX`."""

    code = "headers-too-large"


class HistoryForked(Problem):
    """503. A process has noticed that facts which it had seen were replaced or are gone."""

    code = "history-forked"


class InternalError(Problem):
    """500. The service failed."""

    code = "internal-error"


class InvalidRequest(Problem):
    """422. The body or a parameter can be parsed but is not allowed: a field is missing, unknown or of the wrong type, a name or an id is not valid, an id appears twice in the request, a member appears twice in an object (outside payloads), the batch is empty, or an item of a condition restricts nothing."""

    code = "invalid-request"


class KeyNotFound(Problem):
    """404. No key has this id, or the key was revoked and cannot be rotated."""

    code = "key-not-found"


class KeyUnavailable(Problem):
    """503. A payload is encrypted, and the process that received the request does not have the master key that decrypts it."""

    code = "key-unavailable"


class LeaseLost(Problem):
    """409. A lease has ended: it ran out and its fact was handed out again, or the fact was returned, or the subscription was reset, or it is the lease of another subscription."""

    code = "lease-lost"


class LimitExceeded(Problem):
    """422. The request exceeds a limit."""

    code = "limit-exceeded"


class LogDamaged(Problem):
    """503. A fact that must be stored is missing: the database is damaged."""

    code = "log-damaged"


class MalformedBody(Problem):
    """400. The body of an import does not match its `Content-Encoding`, or ends in the middle."""

    code = "malformed-body"


class MalformedJson(Problem):
    """400. The body is not JSON, is not UTF-8, or is nested too deeply."""

    code = "malformed-json"


class MalformedParameter(Problem):
    """400. A query parameter, a path parameter or `Last-Event-ID` cannot be parsed, is below the lower end of its range, or is given twice although one value is expected."""

    code = "malformed-parameter"


class MalformedRequest(Problem):
    """400. The bytes that arrived are not HTTP/1.1: a line that cannot be parsed, two `Host` headers or none, a body of unclear length, or bytes after a body."""

    code = "malformed-request"


class MethodNotAllowed(Problem):
    """405. The path exists but does not take this method."""

    code = "method-not-allowed"


class NamespaceNotFound(Problem):
    """404. No fact has been published in this namespace, or the credentials may not read it."""

    code = "namespace-not-found"


class NotFound(Problem):
    """404. There is no such path."""

    code = "not-found"


class OutcomeUnknown(Problem):
    """503. The connection to the database was lost during the commit, or the wait for the synchronous standby was cancelled."""

    code = "outcome-unknown"


class RateLimited(Problem):
    """429. An address or a principal exceeded a rate limit."""

    code = "rate-limited"


class RequestTimeout(Problem):
    """408. The headers, the body, or the next line of an import did not arrive in time (`FACTWIRE_HEADER_SECONDS`, `FACTWIRE_BODY_SECONDS`)."""

    code = "request-timeout"


class StandbyBehind(Problem):
    """503. The service reads from a standby, which has not received the facts up to this cursor yet."""

    code = "standby-behind"


class SubscriptionDiffers(Problem):
    """409. The subscription exists with another `ordering`, which cannot be changed: its open facts wait for each other by it."""

    code = "subscription-differs"


class SubscriptionNotFound(Problem):
    """404. No subscription has this name, or the credentials have no grant `subscribe` over it."""

    code = "subscription-not-found"


class TypeNotFound(Problem):
    """404. No fact of this type has been published in this namespace, or the credentials may not read it."""

    code = "type-not-found"


class Unauthenticated(Problem):
    """401. The operation needs credentials."""

    code = "unauthenticated"


class Unavailable(Problem):
    """503. The service cannot do this at the moment: the database cannot be reached, the service has not yet verified that the lock of the database orders the log, or too many requests wait."""

    code = "unavailable"


class UnknownParameter(Problem):
    """422. The operation does not know this query parameter."""

    code = "unknown-parameter"


class UnsupportedContentCoding(Problem):
    """415. The body has a `Content-Encoding` that the operation does not take."""

    code = "unsupported-content-coding"


class UnsupportedMediaType(Problem):
    """415. The body has a media type that the operation does not take, or no media type."""

    code = "unsupported-media-type"


class WrongHost(Problem):
    """421. The `Host` of the request is neither an address, nor a loopback name, nor one of `FACTWIRE_ALLOWED_HOSTS`."""

    code = "wrong-host"


BY_CODE: dict[str, type[Problem]] = {
    "body-too-large": BodyTooLarge,
    "condition-failed": ConditionFailed,
    "condition-too-expensive": ConditionTooExpensive,
    "cross-origin": CrossOrigin,
    "cursor-ahead": CursorAhead,
    "cursor-expired": CursorExpired,
    "cursor-forked": CursorForked,
    "data-subject-erased": DataSubjectErased,
    "data-subject-not-found": DataSubjectNotFound,
    "earlier-open": EarlierOpen,
    "encryption-not-configured": EncryptionNotConfigured,
    "fact-id-conflict": FactIdConflict,
    "fact-not-found": FactNotFound,
    "fact-reserved": FactReserved,
    "forbidden": Forbidden,
    "headers-too-large": HeadersTooLarge,
    "history-forked": HistoryForked,
    "internal-error": InternalError,
    "invalid-request": InvalidRequest,
    "key-not-found": KeyNotFound,
    "key-unavailable": KeyUnavailable,
    "lease-lost": LeaseLost,
    "limit-exceeded": LimitExceeded,
    "log-damaged": LogDamaged,
    "malformed-body": MalformedBody,
    "malformed-json": MalformedJson,
    "malformed-parameter": MalformedParameter,
    "malformed-request": MalformedRequest,
    "method-not-allowed": MethodNotAllowed,
    "namespace-not-found": NamespaceNotFound,
    "not-found": NotFound,
    "outcome-unknown": OutcomeUnknown,
    "rate-limited": RateLimited,
    "request-timeout": RequestTimeout,
    "standby-behind": StandbyBehind,
    "subscription-differs": SubscriptionDiffers,
    "subscription-not-found": SubscriptionNotFound,
    "type-not-found": TypeNotFound,
    "unauthenticated": Unauthenticated,
    "unavailable": Unavailable,
    "unknown-parameter": UnknownParameter,
    "unsupported-content-coding": UnsupportedContentCoding,
    "unsupported-media-type": UnsupportedMediaType,
    "wrong-host": WrongHost,
}
