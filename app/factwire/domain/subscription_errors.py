"""Errors of requests about subscriptions; see domain/errors."""

from collections.abc import Sequence

from factwire.domain.errors import FactwireError


class SubscriptionNotFound(FactwireError):
    """The subscription does not exist, or the credentials do not allow it."""

    code = "subscription-not-found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no subscription {name}.")


class SubscriptionDiffers(FactwireError):
    """The subscription exists with another ordering, which cannot be changed."""

    code = "subscription-differs"

    def __init__(self, name: str, *, ordering: str) -> None:
        super().__init__(
            f"The subscription {name} has the ordering {ordering}, by which its open facts wait for each other. "
            "Create another one.",
            ordering=ordering,
        )


class LeaseLost(FactwireError):
    """A lease has ended: it ran out, or its fact was returned, or the subscription was reset."""

    code = "lease-lost"

    def __init__(self, leases: Sequence[str], **done: int) -> None:
        super().__init__(
            f"The lease {leases[0]} has ended. Its fact is handed out again, or was already.",
            leases=list(leases),
            **done,
        )


class EarlierOpen(FactwireError):
    """An earlier fact of the same aggregate in the same claim is not acknowledged yet."""

    code = "earlier-open"

    def __init__(self, leases: Sequence[str], *, acknowledged: int) -> None:
        super().__init__(
            f"The fact of the lease {leases[0]} comes after another one of its aggregate that is still open. "
            "Acknowledge them in their order, or together.",
            leases=list(leases),
            acknowledged=acknowledged,
        )
