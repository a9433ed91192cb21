"""Catalogue: the existing namespaces, types and versions, with counts."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.compression import encoded_response
from factwire.api.http.context import context_of
from factwire.api.http.query_parameters import parameters_of
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import READ_PROBLEMS, operation
from factwire.domain.errors import NamespaceNotFound, TypeNotFound
from factwire.domain.fact import utc
from factwire.store.catalogue import ListedPage, read_activity, read_namespaces, read_types, read_versions
from factwire.store.connection import Connection

router = new_router("catalogue")

INTERVAL_SECONDS_MAX = 86_400
INTERVALS_MAX = 120
NAMES_DEFAULT, NAMES_MAX = 100, 1000
LISTING = ("prefix", "after=name", "limit=names")
NUL = "\x00"


class NamespaceCount(msgspec.Struct):
    """A namespace, its number of facts, and the position of its last fact."""

    namespace: str
    facts: int
    last_position: int


class Namespaces(msgspec.Struct):
    """Namespaces in the order of their names.

    `next` is the `after` parameter of the next page; null on the last page.
    """

    namespaces: list[NamespaceCount]
    next: str | None


class TypeCount(msgspec.Struct):
    """A type, its versions, its number of facts, and the position of its last fact."""

    type: str
    versions: list[int]
    facts: int
    last_position: int


class Types(msgspec.Struct):
    """Types of a namespace in the order of their names.

    `next` is the `after` parameter of the next page; null on the last page.
    """

    namespace: str
    types: list[TypeCount]
    next: str | None


class VersionOfType(msgspec.Struct):
    """A version of a type, its number of facts, and the position of its last fact."""

    version: int
    facts: int
    last_position: int


class Type(msgspec.Struct):
    """One type with its versions, its number of facts, and the position of its last fact."""

    namespace: str
    type: str
    facts: int
    last_position: int
    versions: list[VersionOfType]


class Activity(msgspec.Struct):
    """Number of readable facts published in each interval up to the time `until`, oldest interval first.

    An interval is null if too many facts were published since then to count them in time. This does not happen with
    read access to all namespaces.
    """

    until: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
    interval_seconds: float
    facts: list[int | None]


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
    async with read_connection(request) as connection:
        found = await read_activity(
            connection,
            principal_of(request).grants.readable,
            interval_seconds=interval_seconds,
            intervals=intervals,
        )
    return await encoded_response(
        request, msgspec.json.encode(Activity(utc(found.until), interval_seconds, found.facts))
    )


@router.get(
    "/v1/namespaces",
    **operation(
        "list_namespaces",
        "Namespaces in the order of their names.",
        rule=Rule.READ,
        parameters=LISTING,
        result=Namespaces,
        result_example="namespaces",
        problems=READ_PROBLEMS,
    ),
)
async def list_namespaces(request: Request) -> Response:
    listed = listed_of(request)
    async with read_connection(request) as connection:
        rows = await read_namespaces(connection, listed, principal_of(request).grants.readable)
    found, following = page_of(rows, listed, "namespace")
    return await encoded_response(
        request, msgspec.json.encode(Namespaces([NamespaceCount(**row) for row in found], following))
    )


@router.get(
    "/v1/namespaces/{namespace}/types",
    **operation(
        "list_types",
        "Types of a namespace in the order of their names.",
        rule=Rule.READ,
        parameters=LISTING,
        path_parameters={"namespace": "shop"},
        result=Types,
        result_example="types",
        problems=(*READ_PROBLEMS, NamespaceNotFound),
    ),
)
async def list_types(request: Request) -> Response:
    namespace, listed = request.path_params["namespace"], listed_of(request)
    unknown = NamespaceNotFound(f"There is no fact in namespace {namespace}.")
    if not could_be_read(request, namespace):
        raise unknown
    async with read_connection(request) as connection:
        rows = await read_types(connection, namespace, listed)
        if not rows and not await read_types(connection, namespace, ListedPage(names_max=1)):
            raise unknown
    found, following = page_of(rows, listed, "type")
    return await encoded_response(
        request, msgspec.json.encode(Types(namespace, [TypeCount(**row) for row in found], following))
    )


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
    parameters_of(request)
    rows = []
    if could_be_read(request, namespace) and NUL not in type:
        async with read_connection(request) as connection:
            rows = await read_versions(connection, namespace, type)
    if not rows:
        raise TypeNotFound(f"There is no fact of type {namespace}/{type}.")
    versions = [VersionOfType(**row) for row in rows]
    facts, last_position = sum(each.facts for each in versions), max(each.last_position for each in versions)
    return await encoded_response(request, msgspec.json.encode(Type(namespace, type, facts, last_position, versions)))


def listed_of(request: Request) -> ListedPage:
    """The requested page of a list, with a limit one name higher, to detect a next page."""
    parameters = parameters_of(request, "prefix", "after", "limit")
    return ListedPage(
        parameters.get("prefix", parse_part_of_name, ""),
        parameters.get("after", parse_part_of_name, ""),
        1 + parameters.whole("limit", default=NAMES_DEFAULT, least=1, most=NAMES_MAX),
    )


def parse_part_of_name(text: str) -> str:
    if NUL in text:
        raise ValueError("expected a part of a name")
    return text


def page_of(rows: list[Any], listed: ListedPage, name: str) -> tuple[list[Any], str | None]:
    """The names of a page, and the last of them if there is a next page."""
    if len(rows) < listed.names_max:
        return rows, None
    return rows[:-1], rows[-2][name]


def could_be_read(request: Request, namespace: str) -> bool:
    """True if the grants allow reading the namespace. Reads no data, so that the response time reveals nothing."""
    return NUL not in namespace and namespace in principal_of(request).grants.readable


def read_connection(request: Request) -> AbstractAsyncContextManager[Connection]:
    context = context_of(request)
    return context.pools.read.acquire(context.tenants.tenant_of(request.scope))
