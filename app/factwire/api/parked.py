"""Parked facts of a subscription: list, replay and discard them."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule
from factwire.api.http.compression import encoded_response
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JSON
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.query_parameters import Parameters, parameters_of
from factwire.api.http.routing import new_router
from factwire.api.http.subscription_access import readable_subscription_of
from factwire.api.http.subscription_models import ParkedFacts, ParkedSelection, ResolvedFacts
from factwire.api.openapi.operation import LEASE_PROBLEMS, READ_PROBLEMS, operation
from factwire.domain.errors import MalformedParameter
from factwire.domain.fact import check_text, invalid_field, utc
from factwire.domain.limits import TEXT_LENGTH_MAX
from factwire.domain.position import POSITION_MAX, START, Position, parse_cursor
from factwire.domain.query import Query, new_item, restricted
from factwire.domain.subscription import POSITIONS_MAX, Subscription
from factwire.domain.subscription_errors import SubscriptionNotFound
from factwire.store.connection import Connection
from factwire.store.subscriptions.matches import FactJson, find_positions, list_facts_at
from factwire.store.subscriptions.parked import ParkedFact, list_parked
from factwire.subscriptions.candidates import AHEAD_BYTES_MAX

router = new_router("subscriptions")

EXAMPLE = {"name": "billing"}
LISTED_DEFAULT, LISTED_MAX = 100, 1000
SELECTION = Decoder(ParkedSelection)


@router.get(
    "/v1/subscriptions/{name}/parked",
    **operation(
        "list_parked",
        "Facts that are set aside until somebody decides.",
        description="Oldest first. `next` is the `after` of the next page.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        parameters=("aggregate_id=one", "after=position", "limit"),
        result=ParkedFacts,
        result_example="parked",
        other_results={304: "The page is the one with the given ETag."},
        problems=(*READ_PROBLEMS, SubscriptionNotFound),
    ),
)
async def list_page(request: Request) -> Response:
    parameters = parameters_of(request, "aggregate_id", "after", "limit")
    after = parameters.get("after", parse_position, START)
    limit = parameters.whole("limit", default=LISTED_DEFAULT, least=1, most=LISTED_MAX)
    aggregate_id = aggregate_id_of(parameters)
    subscription = await readable_subscription_of(request)
    context = context_of(request)
    async with context.pools.read(context.tenants.tenant_of(request.scope)) as connection:
        positions = None if aggregate_id is None else await positions_of(connection, subscription, aggregate_id)
        listed = await list_parked(connection, subscription.id, after=after, count=limit + 1, positions=positions)
        shown = listed[:limit]
        facts = await list_facts_at(
            connection,
            [each.position for each in shown],
            bytes_max=AHEAD_BYTES_MAX,
            master_keys=context.pools.master_keys,
        )
    context.tail.refuse_fork()
    following = facts[-1].position if facts and len(facts) < len(listed) else None
    return await encoded_response(request, parked_json(shown, facts, following))


@router.post(
    "/v1/subscriptions/{name}/parked/replay",
    **operation(
        "replay_parked",
        "Hand out parked facts again, in their order.",
        description="Those at some positions, those of an aggregate, or all. They have all their attempts again.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=ParkedSelection,
        body_required=False,
        body_example="parked-selection",
        result=ResolvedFacts,
        result_example="resolved",
        problems=LEASE_PROBLEMS,
    ),
)
async def replay(request: Request) -> Response:
    return await resolve(request, await context_of(request).bodies.read_optional_json(request), discard=False)


@router.post(
    "/v1/subscriptions/{name}/parked/discard",
    **operation(
        "discard_parked",
        "Give up parked facts: they are done, and the facts behind them go on.",
        description="Those at some positions, those of an aggregate, or all. The facts stay in the log.",
        rule=Rule.SUBSCRIBE,
        path_parameters=EXAMPLE,
        body=ParkedSelection,
        body_example="parked-selection",
        result=ResolvedFacts,
        result_example="resolved",
        problems=LEASE_PROBLEMS,
    ),
)
async def discard(request: Request) -> Response:
    return await resolve(request, await context_of(request).bodies.read_json(request), discard=True)


async def resolve(request: Request, content: bytes, *, discard: bool) -> Response:
    context = context_of(request)
    parameters_of(request)
    body, _ = SELECTION.decode(content)
    subscription = await readable_subscription_of(request)
    context.tail.refuse_on_standby()
    positions = await selected(request, subscription, body)
    facts = await context.subscriptions.resolve_parked(subscription, positions, discard=discard)
    return Response(msgspec.json.encode(ResolvedFacts(facts)), 200, {"cache-control": "no-store"}, JSON)


async def selected(request: Request, subscription: Subscription, body: ParkedSelection) -> Sequence[Position] | None:
    """Positions of the parked facts that are meant; None for all. Raises InvalidRequest."""
    by_position = body.positions is not UNSET and body.positions is not None
    by_aggregate = body.aggregate_id is not UNSET and body.aggregate_id is not None
    if by_position and by_aggregate:
        raise invalid_field("/aggregate_id", "cannot be combined with positions")
    if isinstance(body.positions, list):
        if len(body.positions) > POSITIONS_MAX:
            raise invalid_field("/positions", f"expected at most {POSITIONS_MAX} positions")
        if not all(START < position <= POSITION_MAX for position in body.positions):
            raise invalid_field("/positions", f"expected positions from 1 to {POSITION_MAX}")
        return [Position(position) for position in body.positions]
    if isinstance(body.aggregate_id, str):
        check_text(body.aggregate_id, "/aggregate_id")
        context = context_of(request)
        async with context.pools.read(context.tenants.tenant_of(request.scope)) as connection:
            return await positions_of(connection, subscription, body.aggregate_id)
    return None


async def positions_of(connection: Connection, subscription: Subscription, aggregate_id: str) -> list[Position]:
    """Positions of all facts of an aggregate that the subscription may be about."""
    query = restricted(Query((new_item(aggregate_ids=[aggregate_id]),)), subscription.scope)
    return await find_positions(connection, query)


def aggregate_id_of(parameters: Parameters) -> str | None:
    given = parameters.single("aggregate_id")
    if given is not None and (len(given) > TEXT_LENGTH_MAX or not given.isprintable()):
        raise MalformedParameter("aggregate_id", "expected an aggregate id")
    return given


def parse_position(text: str) -> Position:
    cursor = parse_cursor(text)
    if cursor.epoch:
        raise ValueError("expected a position without an epoch")
    return cursor.position


def parked_json(parked: Sequence[ParkedFact], facts: Sequence[FactJson], following: Position | None) -> bytes:
    """A page of parked facts as JSON. Each fact is sent as it is stored."""
    return b'{"facts":[%b],"next":%b}' % (
        b",".join([one_parked(each, fact.json) for each, fact in zip(parked, facts, strict=False)]),
        b"null" if following is None else b"%d" % following,
    )


def one_parked(parked: ParkedFact, fact: bytes) -> bytes:
    rest = {
        "attempts": parked.attempts,
        "reason": parked.reason,
        "worker": parked.worker,
        "parked_at": utc(parked.parked_at),
        "held_behind": parked.held_behind,
    }
    return b'{"fact":%b,%b' % (fact, msgspec.json.encode(rest)[1:])
