"""Wire format of subscriptions."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from factwire.api.http.models import Fact, QueryBody

SubscriptionState = Literal["active", "paused", "failed"]


class BackoffBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Times before a fact comes again: the first, multiplied by the factor for each further attempt, up to the most."""

    first_seconds: Annotated[float | UnsetType | None, Meta(description="Default: 1.")] = UNSET
    factor: Annotated[float | UnsetType | None, Meta(description="Default: 2.")] = UNSET
    most_seconds: Annotated[float | UnsetType | None, Meta(description="Default: 300.")] = UNSET


class ChangeSubscriptionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Properties of a subscription that are to change."""

    query: Annotated[QueryBody | UnsetType | None, Meta(description="The facts that it is about.")] = UNSET
    ordering: Annotated[
        Literal["none", "aggregate", "all"] | UnsetType | None,
        Meta(
            description="Which facts are handed out one after the other: those that share an aggregate id, all of "
            "them, or none (default: aggregate). It cannot be changed."
        ),
    ] = UNSET
    ack_timeout_seconds: Annotated[
        float | UnsetType | None,
        Meta(description="How long a worker may keep a fact before others get it (default: 30)."),
    ] = UNSET
    max_attempts: Annotated[
        int | UnsetType | None, Meta(description="Attempts after which a fact is set aside (default: 5).")
    ] = UNSET
    on_failure: Annotated[
        Literal["park", "pause"] | UnsetType | None,
        Meta(description="What happens then: the fact is parked, or the subscription pauses (default: park)."),
    ] = UNSET
    in_flight_max: Annotated[
        int | UnsetType | None, Meta(description="Facts that workers may have at once (default: 1000).")
    ] = UNSET
    backoff: Annotated[
        BackoffBody | UnsetType | None, Meta(description="The delay of a fact that a worker returned.")
    ] = UNSET


class SubscriptionBody(ChangeSubscriptionBody, forbid_unknown_fields=True, kw_only=True):
    """A subscription to create, or to bring into this form."""

    query: Annotated[QueryBody, Meta(description="The facts that it is about.")]
    start: Annotated[
        str | UnsetType | None,
        Meta(
            description="Where it begins, if it is created: `start`, `head`, a cursor, a position or the id of a fact, "
            "exclusive, or a time (default: `head`)."
        ),
    ] = UNSET


class SubscriptionBackoff(msgspec.Struct):
    """Times before a fact comes again."""

    first_seconds: float
    factor: float
    most_seconds: float


class Lag(msgspec.Struct):
    """Distance of a subscription to the head."""

    positions: Annotated[int, Meta(description="Positions that are not looked at yet.")]
    seconds: Annotated[
        float | None,
        Meta(
            description="Age of the oldest matching fact that is not done; null if it was not found quickly.",
        ),
    ]
    caught_up: Annotated[bool, Meta(description="True if every matching fact was claimed at least once.")]


class OldestOpen(msgspec.Struct):
    """The oldest fact that is claimed or set aside."""

    position: int
    published_at: str


class WorkerStatus(msgspec.Struct):
    """A worker with the number of facts in its hands."""

    worker: str
    in_flight: int
    seen_at: str | None


class SubscriptionStatus(msgspec.Struct, kw_only=True):
    """A subscription, and how it is."""

    name: str
    query: QueryBody
    ordering: Literal["none", "aggregate", "all"]
    ack_timeout_seconds: float
    max_attempts: int
    on_failure: Literal["park", "pause"]
    in_flight_max: int
    backoff: SubscriptionBackoff
    created_at: str
    state: Annotated[
        SubscriptionState, Meta(description="`failed` if it paused itself, since a fact used up its attempts.")
    ]
    reason: Annotated[str | None, Meta(description="Why it is paused.")]
    generation: Annotated[int, Meta(description="Grows with each reset.")]
    position: Annotated[int, Meta(description="Every match up to here was handed out, or waits for an earlier one.")]
    cursor: str
    head: int
    lag: Lag
    in_flight: Annotated[int, Meta(description="Facts in the hands of workers.")]
    ready: Annotated[int, Meta(description="Facts that come again with the next claim.")]
    held: Annotated[int, Meta(description="Facts that wait for earlier ones of their aggregates.")]
    delayed: Annotated[int, Meta(description="Facts that were returned, and wait for their time.")]
    parked: Annotated[int, Meta(description="Facts that wait until somebody replays or discards them.")]
    limited: Annotated[bool, Meta(description="True if a limit keeps facts back: in_flight_max, or those set aside.")]
    oldest_open: Annotated[OldestOpen | UnsetType, Meta(description="Omitted if no fact is open.")] = UNSET
    workers: list[WorkerStatus]


class SubscriptionList(msgspec.Struct):
    """Subscriptions in the order of their names. `next` is the `after` of the next page; null on the last page."""

    subscriptions: list[SubscriptionStatus]
    next: str | None


class DeletedSubscription(msgspec.Struct):
    """A subscription that was deleted."""

    status: Literal["deleted"] = "deleted"


class ClaimBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A worker that asks for facts."""

    worker: Annotated[str, Meta(description="The name of the worker, for people.", examples=["billing-7f3a"])]
    limit: Annotated[int | UnsetType | None, Meta(description="Facts at most (default: 100).")] = UNSET
    wait_seconds: Annotated[
        float | UnsetType | None, Meta(description="How long to wait if there are none (default: 0).")
    ] = UNSET


class ClaimedItem(msgspec.Struct):
    """A fact in the hands of a worker."""

    lease: Annotated[str, Meta(description="Acknowledges this fact, or returns it.")]
    attempt: Annotated[int, Meta(description="1 at first, and one more each time that the fact comes again.")]
    fact: Fact


class ClaimedFacts(msgspec.Struct):
    """Facts for a worker, until a time."""

    facts: list[ClaimedItem]
    expires_at: Annotated[
        str | None,
        Meta(description="The end of the leases; null without facts."),
    ]
    caught_up: Annotated[bool, Meta(description="True if there is nothing else to claim at present.")]
    state: SubscriptionState


class LeasesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Leases of facts."""

    leases: Annotated[list[str], Meta(description="As the claim returned them.")]


class NackBody(LeasesBody, forbid_unknown_fields=True, kw_only=True):
    """Leases of facts that could not be handled, and their further treatment."""

    retry_after_seconds: Annotated[
        float | UnsetType | None,
        Meta(description="The delay before they come again (default: the backoff of the subscription)."),
    ] = UNSET
    park: Annotated[bool | UnsetType | None, Meta(description="True to set them aside until somebody decides.")] = UNSET
    reason: Annotated[str | UnsetType | None, Meta(description="For people. It must not contain personal data.")] = (
        UNSET
    )


class ExtendBody(LeasesBody, forbid_unknown_fields=True, kw_only=True):
    """Leases of facts that need more time."""

    seconds: Annotated[
        float | UnsetType | None, Meta(description="From now on (default: the time-out of the subscription).")
    ] = UNSET


class Acknowledged(msgspec.Struct):
    """Number of facts that are done."""

    acknowledged: int


class ReturnedFacts(msgspec.Struct):
    """Number of facts that went back, and the leases of later facts of their aggregates that went back with them."""

    returned: int
    withdrawn: list[str]


class Extended(msgspec.Struct):
    """The new end of the leases."""

    expires_at: str


class Parked(msgspec.Struct):
    """A parked fact, and why it was parked."""

    fact: Fact
    attempts: int
    reason: str | None
    worker: str | None
    parked_at: str
    held_behind: Annotated[int, Meta(description="Later facts that wait for it directly, counted up to 1000.")]


class ParkedFacts(msgspec.Struct):
    """Parked facts in their order. `next` is the `after` of the next page; null on the last page."""

    facts: list[Parked]
    next: int | None


class ParkedSelection(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which parked facts: those at some positions, or those of an aggregate, or all."""

    positions: Annotated[list[int] | UnsetType | None, Meta(description="The facts at these positions.")] = UNSET
    aggregate_id: Annotated[str | UnsetType | None, Meta(description="The facts of this aggregate.")] = UNSET


class ResolvedFacts(msgspec.Struct):
    """Number of facts that were replayed or discarded."""

    facts: int


class ResetBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A place to begin again."""

    to: Annotated[
        str, Meta(description="`start`, `head`, a cursor, a position or the id of a fact, exclusive, or a time.")
    ]


class PauseBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Reason for a pause."""

    reason: Annotated[str | UnsetType | None, Meta(description="For people.")] = UNSET
