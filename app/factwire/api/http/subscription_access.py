"""Access to a subscription: a grant over its name, and for its facts the right to read all that it is about."""

from starlette.requests import Request

from factwire.api.http.authorization import principal_of
from factwire.api.http.context import Context, context_of
from factwire.domain.errors import Forbidden, MalformedParameter
from factwire.domain.fact import is_name
from factwire.domain.limits import NAME_LENGTH_MAX
from factwire.domain.principal import Principal
from factwire.domain.subscription import Subscription
from factwire.domain.subscription_errors import SubscriptionNotFound


def name_of(request: Request) -> str:
    """Name in the path of a request. Raises SubscriptionNotFound if the grants do not cover it."""
    name: str = request.path_params["name"]
    if not is_name(name):
        raise MalformedParameter(
            "name", f"expected a name: letters, digits and _.:- , at most {NAME_LENGTH_MAX} characters"
        )
    if name not in principal_of(request).grants.subscribe:
        raise SubscriptionNotFound(name)
    return name


async def subscription_of(request: Request) -> Subscription:
    """The subscription in the path of a request. Raises SubscriptionNotFound."""
    return await context_of(request).subscriptions.find(name_of(request))


async def readable_subscription_of(request: Request) -> Subscription:
    """The same, for work on its facts. Raises Forbidden too."""
    subscription = await subscription_of(request)
    require_scope(principal_of(request), subscription)
    return subscription


async def named_subscription(context: Context, principal: Principal, name: str) -> Subscription:
    """A subscription that is named in a body, for work on its facts. Raises as those above."""
    if not is_name(name) or name not in principal.grants.subscribe:
        raise SubscriptionNotFound(name)
    subscription = await context.subscriptions.find(name)
    require_scope(principal, subscription)
    return subscription


def require_scope(principal: Principal, subscription: Subscription) -> None:
    """Raises Forbidden if the principal may not read everything that the subscription is about.

    Nothing is filtered for one worker: it would move the cursor past facts that another one should have got.
    """
    if not principal.grants.readable.cover(subscription.scope):
        raise Forbidden(
            f"The subscription {subscription.name} is about namespaces that the credentials do not allow reading."
        )
