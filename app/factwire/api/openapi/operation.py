"""Description of a route in the OpenAPI document, built from the wire structs and the table of problems."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from factwire.api.http import bodies, sse
from factwire.api.http.authorization import Rule
from factwire.api.http.deprecation import Deprecation
from factwire.api.http.direct_response import JSON
from factwire.api.http.models import Problem
from factwire.api.http.problems import HEADERS_TOO_LARGE, HELP, MEDIA_TYPE, STATUSES, TYPE_PREFIX
from factwire.api.http.routing import RULE
from factwire.api.openapi.parameters import describe
from factwire.api.openapi.schemas import ITEM_SCHEMA, LINES, LONG, TEXT, UUID_TEXT, event_of, ref
from factwire.domain import errors
from factwire.domain.errors import FactwireError
from factwire.domain.subscription_errors import EarlierOpen, LeaseLost, SubscriptionNotFound
from factwire.paths import resource_path

SECURITY_SCHEME = "credentials"
EXAMPLE_ID = UUID("0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10")
HEADERS_OF = {429: ("Retry-After", "RateLimit", "RateLimit-Policy"), 503: ("Retry-After",)}
EXAMPLES = resource_path("openapi") / "examples"

READ_PROBLEMS: tuple[type[FactwireError], ...] = (
    errors.MalformedParameter,
    errors.FactNotFound,
    errors.CursorForked,
    errors.CursorAhead,
    errors.CursorExpired,
    errors.InvalidRequest,
    errors.UnknownParameter,
    errors.LimitExceeded,
    errors.Unavailable,
    errors.KeyUnavailable,
    errors.HistoryForked,
    errors.LogDamaged,
    errors.StandbyBehind,
)

WRITE_PROBLEMS: tuple[type[FactwireError], ...] = (
    errors.MalformedJson,
    errors.MalformedParameter,
    errors.RequestTimeout,
    errors.FactIdConflict,
    errors.DataSubjectErased,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidRequest,
    errors.UnknownParameter,
    errors.LimitExceeded,
    errors.EncryptionNotConfigured,
    errors.KeyUnavailable,
    errors.Unavailable,
    errors.OutcomeUnknown,
    errors.HistoryForked,
)

PUBLISH_PROBLEMS = (
    *WRITE_PROBLEMS,
    errors.ConditionFailed,
    errors.CursorForked,
    errors.CursorAhead,
    errors.ConditionTooExpensive,
    errors.LogDamaged,
    SubscriptionNotFound,
    LeaseLost,
    EarlierOpen,
)


SUBSCRIPTION_PROBLEMS: tuple[type[FactwireError], ...] = (
    errors.MalformedParameter,
    errors.UnknownParameter,
    errors.Unavailable,
)

BODY_PROBLEMS: tuple[type[FactwireError], ...] = (
    errors.MalformedJson,
    errors.RequestTimeout,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidRequest,
    errors.LimitExceeded,
)

START_PROBLEMS = (
    *BODY_PROBLEMS,
    errors.FactNotFound,
    errors.CursorForked,
    errors.CursorAhead,
    errors.CursorExpired,
    errors.OutcomeUnknown,
    errors.HistoryForked,
    errors.StandbyBehind,
)

CLAIM_PROBLEMS = (
    *SUBSCRIPTION_PROBLEMS,
    *BODY_PROBLEMS,
    SubscriptionNotFound,
    errors.CursorExpired,
    errors.KeyUnavailable,
    errors.HistoryForked,
    errors.LogDamaged,
)

LEASE_PROBLEMS = (
    *SUBSCRIPTION_PROBLEMS,
    *BODY_PROBLEMS,
    SubscriptionNotFound,
    LeaseLost,
    errors.OutcomeUnknown,
)


class Declared(dict[str, Any]):
    """The declaration of one operation, with the structs that it refers to by name, and its deprecation, if any."""

    structs: tuple[type, ...] = ()
    deprecation: Deprecation | None = None


def operation(
    operation_id: str,
    summary: str,
    *,
    description: str,
    rule: Rule,
    result: type,
    result_example: str | None = None,
    status: int = 200,
    media_type: str = JSON,
    other_results: Mapping[int, str] | None = None,
    path_parameters: Mapping[str, str | int | UUID] | None = None,
    parameters: Sequence[str] = (),
    header_parameters: Sequence[str] = (),
    body: type | None = None,
    body_required: bool = True,
    body_media_type: str = JSON,
    body_example: str | None = None,
    several_media_type: str | None = None,
    problems: Sequence[type[FactwireError]] = (),
    deprecation: Deprecation | None = None,
) -> dict[str, Any]:
    """The arguments of a route's decorator. Structs are referenced by name.

    `several_media_type` is the media type of an alternative body: an array whose items are of the type `body`.
    """
    content = {media_type: media(media_type, result, result_example)}
    responses: dict[str, Any] = {str(int(status)): {"description": summary, "content": content}}
    for other, meaning in (other_results or {}).items():
        responses[str(other)] = {"description": meaning, **({} if other == 304 else {"content": content})}
    before = access_problems(rule, body=body is not None)
    responses.update(problem_responses(tuple(dict.fromkeys((*problems, *before, errors.InternalError)))))
    extra = Declared(
        {
            RULE: rule,
            "security": [] if rule is Rule.OPEN else [{}, {SECURITY_SCHEME: []}],
            "parameters": [
                *(path_parameter(name, example) for name, example in (path_parameters or {}).items()),
                *map(describe, parameters),
                *map(header_parameter, header_parameters),
            ],
            "responses": responses,
        }
    )
    if deprecation is not None:
        extra["deprecated"] = True
        extra.deprecation = deprecation
    extra.structs = tuple(struct for struct in (result, body) if struct not in (None, str))
    if body is not None:
        content = body_content(body, body_media_type, body_example, several_media_type)
        extra["requestBody"] = {"required": body_required, "content": content}
    return {
        "operation_id": operation_id,
        "summary": summary,
        "description": description,
        "status_code": int(status),
        "openapi_extra": extra,
    }


def body_content(body: type, media_type: str, example: str | None, several_media_type: str | None) -> dict[str, Any]:
    """Media types of a request body, and of an array of such bodies if it has a media type."""
    content = {media_type: media(media_type, body, example)}
    if several_media_type is not None:
        examples = [] if example is None else [load_example(example)]
        content[several_media_type] = {"schema": {"type": "array", "items": reference(body)}, "example": examples}
    return content


def access_problems(rule: Rule, *, body: bool) -> tuple[type[FactwireError], ...]:
    """The problems that can refuse a request before its operation runs."""
    match rule:
        case Rule.OPEN:
            return ()
        case Rule.READ:
            foreign = (errors.CrossOrigin,) if body else ()
            return (errors.Unauthenticated, *foreign, errors.WrongHost, errors.RateLimited)
        case Rule.PUBLISH | Rule.MANAGE | Rule.MANAGE_FACTS | Rule.SUBSCRIBE:
            forbidden = (errors.Forbidden, errors.CrossOrigin)
            return (errors.Unauthenticated, *forbidden, errors.WrongHost, errors.RateLimited)


def media(media_type: str, type: type, example: str | None) -> dict[str, Any]:
    """A media type object. OpenAPI 3.1 can describe a sequence only as text; its item schema is for OpenAPI 3.2.

    The schema of a stream is that of a fact: generators that can follow take it for the data of one event.
    """
    schema = TEXT if type is str else reference(type)
    match media_type:
        case sse.MEDIA_TYPE:
            described = {"schema": schema, ITEM_SCHEMA: event_of(schema)}
        case bodies.NDJSON:
            described = {"schema": LINES, ITEM_SCHEMA: schema}
        case _:
            described = {"schema": schema}
    if example is not None:
        shown = load_example(example)
        described["example"] = data_of(shown) if media_type == sse.MEDIA_TYPE else shown
    return described


def data_of(events: str) -> Any:
    """The data of the first of several events."""
    return json.loads(next(line for line in events.splitlines() if line.startswith("data: ")).removeprefix("data: "))


def reference(type: type) -> dict[str, str]:
    """Reference to a wire struct, by its name among the schemas of the document."""
    return ref(type.__name__)


def load_example(name: str) -> Any:
    for path in EXAMPLES.glob(f"{name}.*"):
        text = path.read_text()
        return json.loads(text) if path.suffix == ".json" else text
    raise FileNotFoundError(f"openapi/examples/{name}.json")


def problem_responses(problems: Sequence[type[FactwireError]]) -> dict[str, Any]:
    """One response per status, with a list of the problems that have this status."""
    by_status: dict[int, list[type[FactwireError]]] = defaultdict(list)
    for problem in problems:
        by_status[STATUSES[problem]].append(problem)
    return {
        **{
            str(status): problem_response(status, {kind.code: kind.title() for kind in kinds})
            for status, kinds in sorted(by_status.items())
        },
        "431": problem_response(431, {HEADERS_TOO_LARGE: "The headers are too large, or too many."}),
    }


def problem_response(status: int, titles: Mapping[str, str]) -> dict[str, Any]:
    """The response of a status, with its problems: their titles by code. The example is the first one."""
    code, title = next(iter(titles.items()))
    return {
        "description": " ".join(f"`{code}`: {title}" for code, title in titles.items()),
        "content": {
            MEDIA_TYPE: {
                "schema": reference(Problem),
                "example": {
                    "type": f"{TYPE_PREFIX}{code}",
                    "title": title,
                    "status": status,
                    "detail": title,
                    "help": f"{HELP}{code}",
                },
            }
        },
        **({"headers": {name: {"schema": TEXT} for name in HEADERS_OF[status]}} if status in HEADERS_OF else {}),
    }


def path_parameter(name: str, example: str | int | UUID) -> dict[str, Any]:
    schema = {int: LONG, UUID: UUID_TEXT}.get(type(example), TEXT)
    shown = example if isinstance(example, int) else str(example)
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": shown}


HEADERS = {
    "Last-Event-ID": "The cursor to continue after, as EventSource sends it; takes precedence over `after`.",
    "Idempotency-Key": "Makes a publish without ids safe to repeat: the same key gives its facts the same ids.",
}


def header_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": HEADERS[name], "schema": TEXT}
