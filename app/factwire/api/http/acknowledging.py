"""Publishes that acknowledge facts of a subscription in the same transaction: all of it happens, or nothing."""

from collections import defaultdict
from dataclasses import replace

from msgspec import UnsetType

from factwire.api.http.context import Context
from factwire.api.http.models import AcknowledgeBody
from factwire.api.http.subscription_access import named_subscription
from factwire.api.http.subscription_conversion import leases_from
from factwire.domain.effect import Acknowledgement
from factwire.domain.fact import invalid_field
from factwire.domain.position import Position
from factwire.domain.principal import Principal
from factwire.domain.subscription_errors import EarlierOpen, LeaseLost
from factwire.publish.batch import Published
from factwire.publish.intake import Acknowledges, Admitted
from factwire.subscriptions.waiting import AckResult


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

    The facts of a retry are in the log, perhaps without the acknowledgement: then it is made now. Raises LeaseLost and
    EarlierOpen if it cannot be made, OutcomeUnknown and Unavailable.
    """
    if admitted.acknowledges is None:
        return None
    leases = admitted.acknowledges.leases
    if not published.replayed:
        context.subscriptions.look(leases[0].subscription)
        context.metrics.delivered("acknowledged", len(leases))
        return len(leases)
    subscription = await context.subscriptions.find(admitted.acknowledges.subscription)
    return acknowledged_by(await context.subscriptions.acknowledge(subscription, leases))


def acknowledged_by(result: AckResult) -> int:
    """Number of facts that are done. Raises LeaseLost and EarlierOpen if some are not."""
    if result.lost:
        raise LeaseLost([str(fact) for fact in result.lost], acknowledged=result.acknowledged)
    if result.early:
        raise EarlierOpen([str(fact) for fact in result.early], acknowledged=result.acknowledged)
    return result.acknowledged
