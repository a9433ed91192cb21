"""API keys: create, read, rotate and revoke them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JSON
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.models import Texts
from factwire.api.http.query_parameters import parameters_of, parse_time
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import operation
from factwire.auth import keys
from factwire.auth.keys import CreatedKey
from factwire.domain import errors
from factwire.domain.errors import FieldError, Forbidden, InvalidRequest, Unauthenticated, Unavailable
from factwire.domain.fact import utc
from factwire.domain.grants import Grants, grants_from
from factwire.domain.principal import Principal
from factwire.store.api_keys import StoredApiKey, stored_keys
from factwire.store.audit_log import acquire_for_change
from factwire.store.connection import Connection

router = new_router("access")

GRACE_SECONDS = 3600
NO_STORE = {"cache-control": "no-store"}
BODY_PROBLEMS = (
    errors.MalformedJson,
    errors.RequestTimeout,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidRequest,
    errors.LimitExceeded,
)
PROBLEMS = (errors.MalformedParameter, errors.UnknownParameter, errors.Unavailable)


class NamespacesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of namespaces, given by patterns.

    `loans` is exactly that namespace, `loans.*` all namespaces below it, `*` all namespaces. `exclude` takes precedence
    over `include`.
    """

    include: Texts = UNSET
    exclude: Texts = UNSET


class GrantsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Permitted actions, each with its namespaces. Without a grant, nothing is visible."""

    publish: NamespacesBody | UnsetType | None = UNSET
    read: NamespacesBody | UnsetType | None = UNSET
    manage: NamespacesBody | UnsetType | None = UNSET
    subscribe: Annotated[
        NamespacesBody | UnsetType | None, Meta(description="Names of subscriptions, in place of namespaces.")
    ] = UNSET


class KeyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The properties of an API key to create."""

    name: Annotated[
        str, Meta(description="A name for people: the owner or the purpose of the key.", examples=["shop, production"])
    ]
    grants: GrantsBody
    expires_at: Annotated[str | UnsetType | None, Meta(description="The end of its validity (default: none).")] = UNSET


class RotationBody(msgspec.Struct, forbid_unknown_fields=True):
    """Options for the rotation of an API key, which gives it a new secret."""

    grace_seconds: Annotated[
        float | UnsetType | None,
        Meta(description="Time in which the previous secret stays valid, in seconds (default: 3600)."),
    ] = UNSET


class Key(msgspec.Struct, kw_only=True):
    """An API key, without its secret."""

    id: str
    name: str
    grants: GrantsBody
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class IssuedKey(Key, kw_only=True):
    """An API key with its secret, which is returned only in this response."""

    secret: str


class Keys(msgspec.Struct):
    """API keys that are valid, or that expired or were revoked within the last 30 days, oldest first."""

    keys: list[Key]


KEY = Decoder(KeyBody)
ROTATION = Decoder(RotationBody)


@router.get(
    "/v1/keys",
    **operation(
        "list_keys",
        "All keys.",
        description="Without their secrets, which are not stored. Revoked keys are included.",
        rule=Rule.MANAGE,
        result=Keys,
        result_example="keys",
        problems=PROBLEMS,
    ),
)
async def list_keys(request: Request) -> Response:
    parameters_of(request)
    async with acquire_for_request(request) as connection:
        found = await stored_keys(connection)
    return answer(Keys([key_body(key) for key in found]))


@router.post(
    "/v1/keys",
    **operation(
        "create_key",
        "Create a key. Its secret is returned once.",
        description=(
            "A principal can only grant what it has. The secret cannot be read again: rotate the key to get a new one."
        ),
        rule=Rule.MANAGE,
        body=KeyBody,
        body_example="new-key",
        result=IssuedKey,
        result_example="key-with-secret",
        status=HTTPStatus.CREATED,
        problems=(*PROBLEMS, *BODY_PROBLEMS, errors.OutcomeUnknown),
    ),
)
async def create_key(request: Request) -> Response:
    parameters_of(request)
    body, _ = KEY.decode(await context_of(request).bodies.read_json(request))
    maker = creator_of(request)
    grants, expires_at = grants_of(body.grants), expiry_of(body.expires_at, otherwise=maker.expires_at)
    async with acquire_for_request(request) as connection:
        made = await keys.create(connection, maker, name=body.name, grants=grants, expires_at=expires_at)
    return answer(issued_key_body(made), HTTPStatus.CREATED)


@router.get(
    "/v1/keys/{id}",
    **operation(
        "get_key",
        "One key.",
        description="Without its secret, which is not stored.",
        rule=Rule.MANAGE,
        path_parameters={"id": "4yTqW0ePzK3c"},
        result=Key,
        result_example="key",
        problems=(*PROBLEMS, errors.KeyNotFound),
    ),
)
async def get_key(request: Request) -> Response:
    parameters_of(request)
    async with acquire_for_request(request) as connection:
        found = await keys.find(connection, id_of(request))
    return answer(key_body(found))


@router.post(
    "/v1/keys/{id}/rotate",
    **operation(
        "rotate_key",
        "Give a key a new secret, which is returned once. The previous secret stays valid for a while.",
        description="Programs have until the end of `grace_seconds` to change to the new secret.",
        rule=Rule.MANAGE,
        path_parameters={"id": "4yTqW0ePzK3c"},
        body=RotationBody,
        body_example="rotation",
        result=IssuedKey,
        result_example="key-with-secret",
        problems=(*PROBLEMS, *BODY_PROBLEMS, errors.KeyNotFound, errors.OutcomeUnknown),
    ),
)
async def rotate_key(request: Request) -> Response:
    parameters_of(request)
    body, _ = ROTATION.decode(await context_of(request).bodies.read_json(request))
    given = body.grace_seconds
    grace_seconds = GRACE_SECONDS if given is UNSET or given is None else given
    if not 0 <= grace_seconds <= keys.GRACE_SECONDS_MAX:
        detail = f"expected a number from 0 to {keys.GRACE_SECONDS_MAX}"
        raise InvalidRequest([FieldError(detail, pointer="/grace_seconds")])
    async with acquire_for_request(request) as connection:
        made = await keys.rotate(connection, creator_of(request), id_of(request), grace_seconds=grace_seconds)
    return answer(issued_key_body(made))


@router.delete(
    "/v1/keys/{id}",
    **operation(
        "revoke_key",
        "Revoke a key: it opens nothing any more, and its streams end.",
        description="It takes effect in every process within a second or two. A revoked key cannot be restored.",
        rule=Rule.MANAGE,
        path_parameters={"id": "4yTqW0ePzK3c"},
        result=Key,
        result_example="revoked-key",
        problems=(*PROBLEMS, errors.KeyNotFound, errors.OutcomeUnknown),
    ),
)
async def revoke_key(request: Request) -> Response:
    parameters_of(request)
    async with acquire_for_request(request) as connection:
        revoked = await keys.revoke(connection, principal_of(request), id_of(request))
    return answer(key_body(revoked))


@asynccontextmanager
async def acquire_for_request(request: Request) -> AsyncIterator[Connection]:
    """A connection to manage keys. A change takes effect in this process at once, and in others within seconds.

    Raises Forbidden if the service does not use keys: otherwise any client of an open service could create a key and
    keep it for the time after the service is closed.
    """
    context = context_of(request)
    if context.key_cache is None:
        raise Forbidden("Keys are not in use here: FACTWIRE_AUTH does not name them.")
    if request.method != "GET":
        context.tail.refuse_on_standby()
    lane = context.pools.manage
    async with lane.acquire() if request.method == "GET" else acquire_for_change(lane) as connection:
        yield connection
    if request.method != "GET":
        context.tail.hint()
        with suppress(Unavailable):  # the change is committed, and will take effect
            await context.key_cache.refresh()


def creator_of(request: Request) -> Principal:
    """The principal of a request, with the expiry of its credentials, not of its session, which may end earlier.

    Raises Unauthenticated if the credentials are not valid any more, and Unavailable if they cannot be checked.
    """
    maker = context_of(request).access.current(principal_of(request))
    if maker is None:
        raise Unauthenticated("The credentials were revoked or have ended.")
    return maker


def id_of(request: Request) -> str:
    id: str = request.path_params["id"]
    return "" if "\x00" in id else id


def grants_of(body: GrantsBody) -> Grants:
    try:
        return grants_from(without_null(msgspec.to_builtins(body)))
    except ValueError as error:
        raise InvalidRequest([FieldError(str(error), pointer="/grants")]) from None


def without_null(form: dict[str, Any]) -> dict[str, Any]:
    """An object without its null members, at any depth."""
    return {
        name: without_null(value) if isinstance(value, dict) else value
        for name, value in form.items()
        if value is not None
    }


def expiry_of(text: str | UnsetType | None, *, otherwise: float | None) -> datetime | None:
    """Expiry of a new key: the given time, or the expiry of its creator's credentials if the member is missing."""
    if text is UNSET:
        return None if otherwise is None else datetime.fromtimestamp(otherwise, UTC)
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise InvalidRequest([FieldError(str(error), pointer="/expires_at")]) from None


def key_body(key: StoredApiKey) -> Key:
    return Key(**members(key))


def issued_key_body(made: CreatedKey) -> IssuedKey:
    return IssuedKey(**members(made.key), secret=made.secret)


def members(key: StoredApiKey) -> dict[str, Any]:
    times = {
        name: None if (time := getattr(key, name)) is None else utc(time)
        for name in ("created_at", "expires_at", "revoked_at", "last_used_at")
    }
    return {"id": key.id, "name": key.name, "grants": msgspec.convert(without_empty(key.grants), GrantsBody), **times}


def without_empty(grants: Mapping[str, Mapping[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """Grants in the form that is returned: without the parts that grant or exclude nothing."""
    parts = {action: {name: list(each) for name, each in part.items() if each} for action, part in grants.items()}
    return {action: part for action, part in parts.items() if part}


def answer(result: msgspec.Struct, status: int = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(result), status, NO_STORE, JSON)
