"""Subscriptions: create, read, change, pause, reset and delete them."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JSON
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.models import QueryBody
from factwire.api.http.query_parameters import parameters_of, parse_part_of_name
from factwire.api.http.routing import new_router
from factwire.api.http.subscription_access import name_of
from factwire.api.http.subscription_conversion import (
    delivery_from,
    given_or,
    place_from,
    query_form_of,
    reason_from,
    scope_of,
    status_body,
)
from factwire.api.http.subscription_models import (
    ChangeSubscriptionBody,
    DeletedSubscription,
    PauseBody,
    ResetBody,
    SubscriptionBody,
    SubscriptionList,
    SubscriptionStatus,
)
from factwire.api.openapi.operation import START_PROBLEMS, SUBSCRIPTION_PROBLEMS, operation
from factwire.domain import errors
from factwire.domain.errors import FieldError, LimitExceeded, Unavailable
from factwire.domain.grants import NamespaceSet
from factwire.domain.position import Position
from factwire.domain.subscription import Delivery, Subscription
from factwire.domain.subscription_errors import SubscriptionDiffers, SubscriptionNotFound
from factwire.store.audit_log import acquire_for_change
from factwire.store.connection import Connection
from factwire.store.log import read_position
from factwire.store.subscriptions.definitions import (
    Definition,
    change_subscription,
    count_subscriptions,
    create_subscription,
    delete_subscription,
    find_subscription,
    list_subscriptions,
    locked_subscription,
    pause_subscription,
    read_subscription,
    reset_subscription,
)
from factwire.subscriptions.status import read_status

router = new_router("subscriptions")

EXAMPLE = {"name": "billing"}
LISTED_DEFAULT, LISTED_MAX = 20, 100
ATTEMPTS = 3
SUBSCRIPTION = Decoder(SubscriptionBody)
CHANGE = Decoder(ChangeSubscriptionBody)
RESET = Decoder(ResetBody)
PAUSE = Decoder(PauseBody)


@router.get(
    "/v1/subscriptions",
    **operation(
        "list_subscriptions",
        "Subscriptions in the order of their names.",
        description="Those that the credentials allow. `next` is the `after` of the next page.",
        rule=Rule.SUBSCRIBE,
        parameters=("after=name", "limit=subscriptions"),
        result=SubscriptionList,
        result_example="subscriptions",
        problems=SUBSCRIPTION_PROBLEMS,
    ),
)
async def list_all(request: Request) -> Response:
    parameters = parameters_of(request, "after", "limit")
    after = parameters.get("after", parse_part_of_name, "")
    limit = parameters.whole("limit", default=LISTED_DEFAULT, least=1, most=LISTED_MAX)
    allowed = principal_of(request).grants.subscribe
    async with reading(request) as connection:
        found = await list_visible(connection, allowed, after=after, count=limit + 1)
        listed = [await status_of(request, connection, each) for each in found[:limit]]
    following = found[limit - 1].name if len(found) > limit else None
    return answer(SubscriptionList([status for status in listed if status is not None], following))


@router.put(
    "/v1/subscriptions/{name}",
    **operation(
        "put_subscription",
        "Create a subscription, or bring it into this form.",
        description=(
            "The same request may be sent again: `start` is looked at only when the subscription is created. "
            "Its query is about what its author may read, and so must be what its workers may read."
        ),
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=SubscriptionBody,
        body_example="new-subscription",
        result=SubscriptionStatus,
        result_example="subscription",
        status=HTTPStatus.CREATED,
        other_results={200: "It was there already, and is in this form now."},
        problems=(*SUBSCRIPTION_PROBLEMS, *START_PROBLEMS, SubscriptionDiffers),
    ),
)
async def put(request: Request) -> Response:
    context, principal, name = context_of(request), principal_of(request), name_of(request)
    parameters_of(request)
    body, _ = SUBSCRIPTION.decode(await context.bodies.read_json(request))
    form = query_form_of(body.query, context.limits)
    definition = Definition(form, scope_of(form, principal.grants.readable), delivery_from(body, Delivery()))
    start = await position_of(request, given_or(body.start, "head"), "/start")
    context.tail.refuse_on_standby()
    async with acquire_for_change(context.pools.manage) as connection:
        for _ in range(ATTEMPTS):
            before = await find_subscription(connection, name)
            if before is not None and before.delivery.ordering is not definition.delivery.ordering:
                raise SubscriptionDiffers(name, ordering=before.delivery.ordering)
            if before is None:
                made = await create_subscription(
                    connection,
                    name,
                    definition,
                    start=start,
                    created_by=principal.name,
                    subscriptions_max=context.settings.subscriptions_max,
                )
            else:
                made = await change_subscription(connection, before.id, definition)
            if made is not None:
                break
            await refuse_more(connection, context.settings.subscriptions_max)
        else:
            raise Unavailable("Others create and delete the same subscription, again and again.")
    return await changed(request, made, HTTPStatus.CREATED if before is None else HTTPStatus.OK)


@router.get(
    "/v1/subscriptions/{name}",
    **operation(
        "get_subscription",
        "One subscription, and how it is.",
        description="Its position and lag, the facts that are open, and the workers that were heard of.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        result=SubscriptionStatus,
        result_example="subscription",
        problems=(*SUBSCRIPTION_PROBLEMS, SubscriptionNotFound),
    ),
)
async def get(request: Request) -> Response:
    parameters_of(request)
    name = name_of(request)
    async with reading(request) as connection:
        subscription = await find_subscription(connection, name)
        status = None if subscription is None else await status_of(request, connection, subscription)
    if status is None:
        raise SubscriptionNotFound(name)
    return answer(status)


@router.patch(
    "/v1/subscriptions/{name}",
    **operation(
        "change_subscription",
        "Change some properties of a subscription.",
        description="What is open stays open. A new query is that of the author of this request.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=ChangeSubscriptionBody,
        body_example="subscription-change",
        result=SubscriptionStatus,
        result_example="subscription",
        problems=(*SUBSCRIPTION_PROBLEMS, *START_PROBLEMS, SubscriptionNotFound, SubscriptionDiffers),
    ),
)
async def change(request: Request) -> Response:
    context, principal, name = context_of(request), principal_of(request), name_of(request)
    parameters_of(request)
    body, _ = CHANGE.decode(await context.bodies.read_json(request))
    context.tail.refuse_on_standby()
    async with (
        acquire_for_change(context.pools.manage) as connection,
        locked_subscription(connection, name) as before,
    ):
        if before is None:
            raise SubscriptionNotFound(name)
        form, scope = before.form, before.scope
        if isinstance(body.query, QueryBody):
            form = query_form_of(body.query, context.limits)
            scope = scope_of(form, principal.grants.readable)
        delivery = delivery_from(body, before.delivery)
        if delivery.ordering is not before.delivery.ordering:
            raise SubscriptionDiffers(name, ordering=before.delivery.ordering)
        made = await change_subscription(connection, before.id, Definition(form, scope, delivery))
    return await changed(request, made)


@router.delete(
    "/v1/subscriptions/{name}",
    **operation(
        "delete_subscription",
        "Delete a subscription, with its position and all that is open in it.",
        description="Leases end. The facts stay in the log.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        result=DeletedSubscription,
        result_example="deleted-subscription",
        problems=(*SUBSCRIPTION_PROBLEMS, SubscriptionNotFound, errors.OutcomeUnknown),
    ),
)
async def delete(request: Request) -> Response:
    async with changing(request) as (connection, subscription):
        done = await delete_subscription(connection, subscription.id)
    context_of(request).subscriptions.forget(subscription.name)
    if not done:
        raise SubscriptionNotFound(subscription.name)
    return answer(DeletedSubscription())


@router.post(
    "/v1/subscriptions/{name}/reset",
    **operation(
        "reset_subscription",
        "Begin again at another place.",
        description=(
            "Leases end, and their acknowledgements are refused. Parked facts before the place stay parked; "
            "everything behind it is handed out again."
        ),
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=ResetBody,
        body_example="subscription-reset",
        result=SubscriptionStatus,
        result_example="subscription",
        problems=(*SUBSCRIPTION_PROBLEMS, *START_PROBLEMS, SubscriptionNotFound),
    ),
)
async def reset(request: Request) -> Response:
    context = context_of(request)
    body, _ = RESET.decode(await context.bodies.read_json(request))
    position = await position_of(request, body.to, "/to")
    async with changing(request) as (connection, subscription):
        if not await reset_subscription(connection, subscription.id, position):
            raise SubscriptionNotFound(subscription.name)
        made = await read_subscription(connection, subscription.id)
    return await changed(request, made)


@router.post(
    "/v1/subscriptions/{name}/pause",
    **operation(
        "pause_subscription",
        "Hand out no more facts.",
        description="Workers keep what they have, and may acknowledge it. Claims wait.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=PauseBody,
        body_required=False,
        body_example="subscription-pause",
        result=SubscriptionStatus,
        result_example="subscription",
        problems=(*SUBSCRIPTION_PROBLEMS, *START_PROBLEMS, SubscriptionNotFound),
    ),
)
async def pause(request: Request) -> Response:
    body, _ = PAUSE.decode(await context_of(request).bodies.read_optional_json(request))
    reason = reason_from(body.reason)
    async with changing(request) as (connection, subscription):
        made = await pause_subscription(connection, subscription.id, paused=True, reason=reason)
    return await changed(request, made)


@router.post(
    "/v1/subscriptions/{name}/resume",
    **operation(
        "resume_subscription",
        "Hand out facts again.",
        description="Also after the subscription paused itself, since a fact had used up its attempts.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        result=SubscriptionStatus,
        result_example="subscription",
        problems=(*SUBSCRIPTION_PROBLEMS, SubscriptionNotFound, errors.OutcomeUnknown),
    ),
)
async def resume(request: Request) -> Response:
    async with changing(request) as (connection, subscription):
        made = await pause_subscription(connection, subscription.id, paused=False)
    return await changed(request, made)


async def list_visible(connection: Connection, allowed: NamespaceSet, *, after: str, count: int) -> list[Subscription]:
    """Subscriptions with an allowed name, after a name."""
    found: list[Subscription] = []
    while len(found) < count:
        listed = await list_subscriptions(connection, after=after, count=count)
        found += [each for each in listed if each.name in allowed]
        if len(listed) < count:
            break
        after = listed[-1].name
    return found[:count]


async def status_of(request: Request, connection: Connection, subscription: Subscription) -> SubscriptionStatus | None:
    context = context_of(request)
    status = await read_status(
        connection,
        subscription,
        aside_max=context.settings.subscription_aside_max,
        master_keys=context.pools.master_keys,
    )
    return None if status is None else status_body(subscription, status)


async def position_of(request: Request, place: str, pointer: str) -> Position:
    """Position of a place to begin at. Raises the errors of a bound."""
    context, readable = context_of(request), principal_of(request).grants.readable
    where = place_from(place, pointer)
    if isinstance(where, datetime):
        async with reading(request) as connection:
            state, _ = await read_position(connection, where, readable)
    else:
        state = await context.log_state.locate(where, readable)
    context.tail.refuse_fork()
    return state.position


async def refuse_more(connection: Connection, most: int) -> None:
    """Raises LimitExceeded if there may be no more subscriptions."""
    if await count_subscriptions(connection) >= most:
        detail = f"there are at most {most} subscriptions"
        raise LimitExceeded("subscriptions_max", most, field=FieldError(detail, parameter="name"))


async def changed(request: Request, made: Subscription | None, status: int = HTTPStatus.OK) -> Response:
    """Answer with a subscription that was changed, and have it read anew here."""
    name = name_of(request)
    context_of(request).subscriptions.forget(name)
    if made is None:
        raise SubscriptionNotFound(name)
    async with reading(request) as connection:
        body = await status_of(request, connection, made)
    if body is None:
        raise SubscriptionNotFound(name)
    return answer(body, status)


@asynccontextmanager
async def changing(request: Request) -> AsyncIterator[tuple[Connection, Subscription]]:
    """A connection to change the subscription of a request. Raises SubscriptionNotFound."""
    context, name = context_of(request), name_of(request)
    parameters_of(request)
    context.tail.refuse_on_standby()
    async with acquire_for_change(context.pools.manage) as connection:
        subscription = await find_subscription(connection, name)
        if subscription is None:
            raise SubscriptionNotFound(name)
        yield connection, subscription


def reading(request: Request) -> AbstractAsyncContextManager[Connection]:
    context = context_of(request)
    return context.pools.read(context.tenants.tenant_of(request.scope))


def answer(result: msgspec.Struct, status: int = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(result), status, {"cache-control": "no-store"}, JSON)
