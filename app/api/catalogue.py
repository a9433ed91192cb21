"""The catalogue: namespaces, types and versions that exist, with counts."""

from itertools import groupby
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from app.api.admitting import Rule, principal_of
from app.api.context import context_of
from app.api.documenting import READ_PROBLEMS, operation
from app.api.encoding import encoded_response
from app.api.parameters import parameters_of
from app.api.routing import new_router
from app.domain.errors import NamespaceNotFound, TypeNotFound
from app.domain.fact import utc
from app.store.catalogue import VersionCount, read_activity, read_counts

router = new_router("catalogue")

INTERVAL_SECONDS_MAX = 86_400
INTERVALS_MAX = 120


class NamespaceCount(msgspec.Struct):
    """A namespace, how many facts it has, and where the last one stands."""

    namespace: str
    facts: int
    last_position: int


class Namespaces(msgspec.Struct):
    """All namespaces."""

    namespaces: list[NamespaceCount]


class TypeCount(msgspec.Struct):
    """A type, its versions, how many facts it has, and where the last one stands."""

    type: str
    versions: list[int]
    facts: int
    last_position: int


class Types(msgspec.Struct):
    """All types of a namespace."""

    namespace: str
    types: list[TypeCount]


class VersionOfType(msgspec.Struct):
    """A version of a type, how many facts it has, and where the last one stands."""

    version: int
    facts: int
    last_position: int


class Type(msgspec.Struct):
    """One type with its versions."""

    namespace: str
    type: str
    facts: int
    last_position: int
    versions: list[VersionOfType]


class Activity(msgspec.Struct):
    """How many facts were published in each interval up to a time, the oldest first, whatever may be read of them."""

    until: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
    interval_seconds: float
    facts: list[int]


@router.get(
    "/v1/activity",
    **operation(
        "get_activity",
        "How many facts were published lately.",
        rule=Rule.READ,
        parameters=("interval_seconds", "intervals"),
        result=Activity,
        result_example="activity",
        problems=READ_PROBLEMS,
    ),
)
async def get_activity(request: Request) -> Response:
    parameters = parameters_of(request, "interval_seconds", "intervals")
    interval_seconds = parameters.number("interval_seconds", default=60, least=1, most=INTERVAL_SECONDS_MAX)
    intervals = parameters.whole("intervals", default=60, least=1, most=INTERVALS_MAX)
    principal_of(request)  # who may read anything knows where the log ends, and so how fast it grows
    async with context_of(request).database.reading.reading() as connection:
        found = await read_activity(connection, interval_seconds=interval_seconds, intervals=intervals)
    return await encoded_response(
        request, msgspec.json.encode(Activity(utc(found.until), interval_seconds, found.facts))
    )


@router.get(
    "/v1/namespaces",
    **operation(
        "list_namespaces",
        "All namespaces.",
        rule=Rule.READ,
        result=Namespaces,
        result_example="namespaces",
        problems=READ_PROBLEMS,
    ),
)
async def list_namespaces(request: Request) -> Response:
    counts = await counts_of(request)
    result = Namespaces(
        [NamespaceCount(name, *total(list(group))) for name, group in groupby(counts, lambda count: count.namespace)]
    )
    return await encoded_response(request, msgspec.json.encode(result))


@router.get(
    "/v1/namespaces/{namespace}/types",
    **operation(
        "list_types",
        "All types of a namespace.",
        rule=Rule.READ,
        path_parameters={"namespace": "shop"},
        result=Types,
        result_example="types",
        problems=(*READ_PROBLEMS, NamespaceNotFound),
    ),
)
async def list_types(request: Request) -> Response:
    namespace = request.path_params["namespace"]
    counts = await counts_of(request, namespace=namespace)
    if not counts:
        raise NamespaceNotFound(f"There is no fact in the namespace {namespace}.")
    by_type = [(type, list(group)) for type, group in groupby(counts, lambda count: count.type)]
    result = Types(
        namespace, [TypeCount(type, [count.version for count in group], *total(group)) for type, group in by_type]
    )
    return await encoded_response(request, msgspec.json.encode(result))


@router.get(
    "/v1/namespaces/{namespace}/types/{type}",
    **operation(
        "get_type",
        "One type with its versions.",
        rule=Rule.READ,
        path_parameters={"namespace": "shop", "type": "OrderPlaced"},
        result=Type,
        result_example="type",
        problems=(*READ_PROBLEMS, TypeNotFound),
    ),
)
async def get_type(request: Request) -> Response:
    namespace, type = request.path_params["namespace"], request.path_params["type"]
    counts = await counts_of(request, namespace=namespace, type=type)
    if not counts:
        raise TypeNotFound(f"There is no fact of the type {namespace}/{type}.")
    versions = [VersionOfType(count.version, count.facts, count.last_position) for count in counts]
    result = Type(namespace, type, *total(counts), versions)
    return await encoded_response(request, msgspec.json.encode(result))


async def counts_of(request: Request, *, namespace: str | None = None, type: str | None = None) -> list[VersionCount]:
    parameters_of(request)
    for text in (namespace, type):
        if text is not None and "\x00" in text:
            return []
    readable = principal_of(request).grants.readable
    if namespace is not None and namespace not in readable:
        return []  # without a look at it, so that the time it takes does not tell whether it is there
    async with context_of(request).database.reading.reading() as connection:
        counts = await read_counts(connection, namespace=namespace, type=type)
    return [count for count in counts if count.namespace in readable]


def total(counts: list[VersionCount]) -> tuple[int, int]:
    """How many facts, and the last position of any."""
    return sum(count.facts for count in counts), max(count.last_position for count in counts)
