"""Claims: workers take facts of a subscription, and acknowledge, return or keep them."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.acknowledging import acknowledged_by
from factwire.api.http.authorization import Rule
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JSON, client_has_left, writer_of
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.query_parameters import parameters_of
from factwire.api.http.routing import new_router
from factwire.api.http.sse import wait_for_disconnect
from factwire.api.http.subscription_access import readable_subscription_of
from factwire.api.http.subscription_conversion import (
    given_or,
    leases_from,
    number,
    reason_from,
)
from factwire.api.http.subscription_models import (
    Acknowledged,
    ClaimBody,
    ClaimedFacts,
    ExtendBody,
    Extended,
    LeasesBody,
    NackBody,
    ReturnedFacts,
)
from factwire.api.openapi.operation import CLAIM_PROBLEMS, LEASE_PROBLEMS, operation
from factwire.domain.fact import check_text, invalid_field, utc
from factwire.domain.subscription import (
    ACK_TIMEOUT_SECONDS_MAX,
    BACKOFF_SECONDS_MAX,
    LEASES_MAX,
    WORKER_LENGTH_MAX,
    LeasedFact,
    Subscription,
)
from factwire.domain.subscription_errors import EarlierOpen, LeaseLost
from factwire.store.subscriptions.claims import Return
from factwire.subscriptions.waiting import ClaimedFact, ClaimResult

router = new_router("subscriptions")

Body = TypeVar("Body", bound=LeasesBody)

EXAMPLE = {"name": "billing"}
LIMIT_DEFAULT = 100
WAIT_SECONDS_MAX = 300  # of a request; it waits for FACTWIRE_WAIT_SECONDS_MAX at most
CLAIM = Decoder(ClaimBody)
LEASES = Decoder(LeasesBody)
NACK = Decoder(NackBody)
EXTEND = Decoder(ExtendBody)


@router.post(
    "/v1/subscriptions/{name}/claim",
    **operation(
        "claim",
        "Take facts to work on.",
        description=(
            "Each fact is in the hands of one worker at a time, under a lease: acknowledge it before the lease ends, "
            "or it is handed out again. With `wait_seconds`, the claim waits for the first fact (long poll)."
        ),
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=ClaimBody,
        body_example="claim",
        result=ClaimedFacts,
        result_example="claimed",
        problems=CLAIM_PROBLEMS,
    ),
)
async def claim(request: Request) -> Response:
    context = context_of(request)
    parameters_of(request)
    body, _ = CLAIM.decode(await context.bodies.read_json(request))
    check_worker(body.worker)
    limit = number(body.limit, LIMIT_DEFAULT, "/limit", 1, LEASES_MAX)
    wait_seconds = number(body.wait_seconds, 0.0, "/wait_seconds", 0, WAIT_SECONDS_MAX)
    subscription = await readable_subscription_of(request)
    context.tail.refuse_on_standby()
    claiming = asyncio.create_task(
        context.subscriptions.claim(
            subscription,
            body.worker,
            limit=limit,
            wait_seconds=min(wait_seconds, context.settings.wait_seconds_max),
            tenant=context.tenants.tenant_of(request.scope),
        )
    )
    stop_watching = watch_client(request, claiming)
    try:
        result = await claiming
    except asyncio.CancelledError:
        if not claiming.cancelled():  # this task itself is cancelled
            claiming.cancel()
            raise
        return Response(status_code=499)  # the client has left
    finally:
        stop_watching()
    if client_has_left(request.scope):
        await context.subscriptions.give_back(subscription, result)
    return Response(claim_json(result), 200, {"cache-control": "no-store"}, JSON)


@router.post(
    "/v1/subscriptions/{name}/ack",
    **operation(
        "acknowledge",
        "Acknowledge facts: they are done.",
        description=(
            "Repeating it is safe. If some of the leases cannot be acknowledged, the others are all the same, and the "
            "problem names them and says how many were."
        ),
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=LeasesBody,
        body_example="leases",
        result=Acknowledged,
        result_example="acknowledged",
        problems=(*LEASE_PROBLEMS, EarlierOpen),
    ),
)
async def acknowledge(request: Request) -> Response:
    subscription, facts, _ = await leases_of(request, LEASES)
    result = await context_of(request).subscriptions.acknowledge(subscription, facts)
    return answer(Acknowledged(acknowledged_by(result)))


@router.post(
    "/v1/subscriptions/{name}/nack",
    **operation(
        "nack",
        "Return facts that could not be handled: to come again after a delay, or to be parked.",
        description=(
            "Later facts of the same aggregates that were claimed with them go back as well, and come again after "
            "them; `withdrawn` has their leases. A fact that has used up its attempts is parked."
        ),
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=NackBody,
        body_example="nack",
        result=ReturnedFacts,
        result_example="returned",
        problems=LEASE_PROBLEMS,
    ),
)
async def nack(request: Request) -> Response:
    subscription, facts, body = await leases_of(request, NACK)
    park = given_or(body.park, False)
    delay = given_or(body.retry_after_seconds, None)
    if park and delay is not None:
        raise invalid_field("/retry_after_seconds", "cannot be combined with park")
    if delay is not None:
        delay = number(delay, 0.0, "/retry_after_seconds", 0, BACKOFF_SECONDS_MAX)
    how = Return(park=park, delay_seconds=delay, reason=reason_from(body.reason))
    return await give_back(request, subscription, facts, how)


@router.post(
    "/v1/subscriptions/{name}/release",
    **operation(
        "release",
        "Return facts unhandled: others get them at once, and it counts as no attempt.",
        description="For a worker that is to stop.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=LeasesBody,
        body_example="leases",
        result=ReturnedFacts,
        result_example="returned",
        problems=LEASE_PROBLEMS,
    ),
)
async def release(request: Request) -> Response:
    subscription, facts, _ = await leases_of(request, LEASES)
    return await give_back(request, subscription, facts, Return(released=True))


@router.post(
    "/v1/subscriptions/{name}/extend",
    **operation(
        "extend",
        "Keep facts for longer.",
        description="It extends the whole claims that these facts were taken by. None becomes shorter.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=ExtendBody,
        body_example="extend",
        result=Extended,
        result_example="extended",
        problems=LEASE_PROBLEMS,
    ),
)
async def extend(request: Request) -> Response:
    subscription, facts, body = await leases_of(request, EXTEND)
    seconds = given_or(body.seconds, None)
    if seconds is not None:
        seconds = number(seconds, 0.0, "/seconds", 1, ACK_TIMEOUT_SECONDS_MAX)
    until, lost = await context_of(request).subscriptions.extend(subscription, facts, seconds=seconds)
    if lost:
        raise LeaseLost([str(fact) for fact in lost])
    return answer(Extended(utc(until)))


async def give_back(request: Request, subscription: Subscription, facts: list[LeasedFact], how: Return) -> Response:
    returned = await context_of(request).subscriptions.return_facts(subscription, facts, how)
    if returned.lost:
        raise LeaseLost(sorted(map(str, returned.lost)), returned=returned.facts)
    return answer(ReturnedFacts(returned.facts, [str(fact) for fact in sorted(returned.withdrawn)]))


async def leases_of(request: Request, decoder: Decoder[Body]) -> tuple[Subscription, list[LeasedFact], Body]:
    """Subscription and leases of a request, and its body. Raises InvalidRequest, Forbidden, SubscriptionNotFound."""
    context = context_of(request)
    parameters_of(request)
    body, _ = decoder.decode(await context.bodies.read_json(request))
    facts = leases_from(body.leases)
    subscription = await readable_subscription_of(request)
    context.tail.refuse_on_standby()
    return subscription, facts, body


def check_worker(worker: str) -> None:
    if not worker:
        raise invalid_field("/worker", "expected a name")
    check_text(worker, "/worker", length_max=WORKER_LENGTH_MAX)


def watch_client(request: Request, claiming: "asyncio.Task[ClaimResult]") -> Callable[[], object]:
    """Cancel a claim if its client leaves. Returns a function that ends that."""

    def leave(_: object = None) -> None:
        claiming.cancel()

    writer = writer_of(request.scope)
    if writer is not None:
        writer.watch(leave, at_end=True)
        return leave
    leaving = asyncio.create_task(wait_for_disconnect(request.receive))
    leaving.add_done_callback(leave)
    return leaving.cancel


def claim_json(result: ClaimResult) -> bytes:
    """Claimed facts as JSON. Each fact is sent as it is stored."""
    facts = b",".join([claimed_json(fact) for fact in result.facts])
    until = b"null" if result.until is None else b'"%b"' % utc(result.until).encode()
    return b'{"facts":[%b],"expires_at":%b,"caught_up":%b,"state":"%b"}' % (
        facts,
        until,
        b"true" if result.caught_up else b"false",
        result.state.encode(),
    )


def claimed_json(fact: ClaimedFact) -> bytes:
    return b'{"lease":"%b","attempt":%d,"fact":%b}' % (str(fact.leased).encode(), fact.attempt, fact.json)


def answer(result: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(result), 200, {"cache-control": "no-store"}, JSON)
