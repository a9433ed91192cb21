"""Catalogue: the existing namespaces, types and versions, with counts."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.compression import encoded_response
from factwire.api.http.context import context_of
from factwire.api.http.query_parameters import Parameters, parameters_of, parse_part_of_name
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import READ_PROBLEMS, operation
from factwire.domain.errors import MalformedParameter, NamespaceNotFound, TypeNotFound
from factwire.store.catalogue import ListedPage, read_namespaces, read_types, read_versions
from factwire.store.connection import Connection

router = new_router("catalogue")

NAMES_DEFAULT, NAMES_MAX = 100, 1000
LISTING = ("prefix", "after=name", "limit=names")  # their names in the document
PAGING = ("prefix", "after", "limit")
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


class VersionCount(msgspec.Struct):
    """A version of a type, its number of facts, and the position of its last fact."""

    version: int
    facts: int
    last_position: int


class TypeCount(msgspec.Struct):
    """A type, its versions, its number of facts, and the position of its last fact."""

    type: str
    versions: list[int]
    facts: int
    last_position: int
    by_version: Annotated[
        list[VersionCount] | UnsetType, Meta(description="The same for each version, if one type was asked for.")
    ] = UNSET


class Types(msgspec.Struct):
    """Types of a namespace in the order of their names.

    `next` is the `after` parameter of the next page; null on the last page.
    """

    namespace: str
    types: list[TypeCount]
    next: str | None


@router.get(
    "/v1/namespaces",
    **operation(
        "list_namespaces",
        "Namespaces in the order of their names.",
        description=(
            "Those that have a fact and may be read, with exact counts. `next` is the `after` of the next page."
        ),
        rule=Rule.READ,
        parameters=LISTING,
        result=Namespaces,
        result_example="namespaces",
        problems=READ_PROBLEMS,
    ),
)
async def list_namespaces(request: Request) -> Response:
    listed = listed_of(parameters_of(request, *PAGING))
    async with read_connection(request) as connection:
        rows = await read_namespaces(connection, listed, principal_of(request).grants.readable)
    found, following = page_of(rows, listed, "namespace")
    return await encoded_response(
        request, msgspec.json.encode(Namespaces([NamespaceCount(**row) for row in found], following))
    )


@router.get(
    "/v1/types",
    **operation(
        "list_types",
        "Types of a namespace in the order of their names, or one of them with its versions.",
        description=(
            "With exact counts. `next` is the `after` of the next page. A type may contain any text, and is "
            "therefore a parameter."
        ),
        rule=Rule.READ,
        parameters=("namespace=one", "type=one", *LISTING),
        result=Types,
        result_example="types",
        problems=(*READ_PROBLEMS, NamespaceNotFound, TypeNotFound),
    ),
)
async def list_types(request: Request) -> Response:
    parameters = parameters_of(request, "namespace", "type", *PAGING)
    namespace, type = parameters.single("namespace"), parameters.single("type")
    if namespace is None:
        raise MalformedParameter("namespace", "expected the namespace whose types are listed")
    if type is None:
        types = await list_all(request, namespace, listed_of(parameters))
    else:
        types = await list_one(request, namespace, type, alone=not set(PAGING) & parameters.values.keys())
    return await encoded_response(request, msgspec.json.encode(types))


async def list_all(request: Request, namespace: str, listed: ListedPage) -> Types:
    unknown = NamespaceNotFound(f"There is no fact in namespace {namespace}.")
    if not could_be_read(request, namespace):
        raise unknown
    async with read_connection(request) as connection:
        rows = await read_types(connection, namespace, listed)
        if not rows and not await read_types(connection, namespace, ListedPage(names_max=1)):
            raise unknown
    found, following = page_of(rows, listed, "type")
    return Types(namespace, [TypeCount(**row) for row in found], following)


async def list_one(request: Request, namespace: str, type: str, *, alone: bool) -> Types:
    """One type with its versions. The parameters of a list are refused beside it."""
    if not alone:
        raise MalformedParameter("type", f"cannot be combined with {', '.join(PAGING)}")
    rows = []
    if could_be_read(request, namespace) and NUL not in type:
        async with read_connection(request) as connection:
            rows = await read_versions(connection, namespace, type)
    if not rows:
        raise TypeNotFound(f"There is no fact of type {namespace}/{type}.")
    counts = [VersionCount(**row) for row in rows]
    facts, last_position = sum(each.facts for each in counts), max(each.last_position for each in counts)
    versions = [each.version for each in counts]
    return Types(namespace, [TypeCount(type, versions, facts, last_position, counts)], None)


def listed_of(parameters: Parameters) -> ListedPage:
    """The requested page of a list, with a limit one name higher, to detect a next page."""
    return ListedPage(
        parameters.get("prefix", parse_part_of_name, ""),
        parameters.get("after", parse_part_of_name, ""),
        1 + parameters.whole("limit", default=NAMES_DEFAULT, least=1, most=NAMES_MAX),
    )


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
    return context.pools.read(context.tenants.tenant_of(request.scope))
