"""Publishes that acknowledge facts of a subscription in the same transaction: all of it happens, or nothing."""

from collections import defaultdict
from dataclasses import replace

from msgspec import UnsetType

from factwire.api.http.context import Context
from factwire.api.http.models import AcknowledgeBody
from factwire.api.http.subscription_access import named_subscription
from factwire.api.http.subscription_conversion import leases_from
from factwire.domain.effect import Acknowledgement
from factwire.domain.errors import FactwireError
from factwire.domain.fact import invalid_field
from factwire.domain.position import Position
from factwire.domain.principal import Principal
from factwire.domain.subscription import LeasedFact
from factwire.domain.subscription_errors import LeaseLost
from factwire.publish.batch import Published
from factwire.publish.intake import Acknowledges, Admitted


def acknowledges_from(body: AcknowledgeBody | UnsetType | None) -> Acknowledges | None:
    """The acknowledgements of a publish. Raises InvalidRequest."""
    if body is None:
        raise invalid_field("/acknowledge", "expected an object: leave the member out to acknowledge nothing")
    if isinstance(body, UnsetType):
        return None
    return Acknowledges(body.subscription, tuple(leases_from(body.leases, pointer="/acknowledge/leases")))


async def with_effects(context: Context, principal: Principal, admitted: Admitted) -> Admitted:
    """The same publish with its acknowledgements as effects. Raises SubscriptionNotFound, Forbidden and LeaseLost."""
    acknowledges = admitted.acknowledges
    if acknowledges is None:
        return admitted
    subscription = await named_subscription(context, principal, acknowledges.subscription)
    foreign = [fact for fact in acknowledges.leases if fact.subscription != subscription.id]
    if foreign:
        raise LeaseLost([str(fact) for fact in foreign], acknowledged=0)
    positions: defaultdict[int, list[Position]] = defaultdict(list)
    for fact in acknowledges.leases:
        positions[fact.lease].append(fact.position)
    effects = [Acknowledgement(subscription.id, lease, tuple(each)) for lease, each in positions.items()]
    return replace(admitted, effects=tuple(effects))


async def finish(context: Context, admitted: Admitted, published: Published) -> int | None:
    """Number of facts that a publish has acknowledged; None if it was to acknowledge none.

    The facts of a retry may have been published without the acknowledgement: then it is made now, if it still can be.
    """
    if admitted.acknowledges is None:
        return None
    leases = admitted.acknowledges.leases
    if not published.replayed:
        context.subscriptions.look(leases[0].subscription)
        context.metrics.delivered("acknowledged", len(leases))
        return len(leases)
    try:
        return await acknowledge_late(context, admitted.acknowledges.subscription, leases)
    except FactwireError:
        return 0


async def acknowledge_late(context: Context, name: str, leases: tuple[LeasedFact, ...]) -> int:
    result = await context.subscriptions.acknowledge(await context.subscriptions.find(name), leases)
    return result.acknowledged
