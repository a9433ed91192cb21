"""Intake: single entry point for facts of every input format, with the check of grants before the publisher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from factwire.domain.condition import Condition, FactBound, Precondition
from factwire.domain.effect import Effect
from factwire.domain.errors import FieldError, Forbidden, blaming
from factwire.domain.fact import NewFact
from factwire.domain.grants import NamespaceSet
from factwire.domain.principal import ANYBODY, Principal
from factwire.domain.query import restricted_item
from factwire.domain.subscription import LeasedFact
from factwire.publish.batch import Outcome, Published, Request
from factwire.publish.publisher import Publisher


class Acknowledges(NamedTuple):
    """Leases of a subscription, given by its name, that a publish is to acknowledge."""

    subscription: str
    leases: tuple[LeasedFact, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Facts that their principal may publish, with a condition over facts that it may read.

    `next_id` is that of KeyedIds, if an idempotency key gave the facts their ids. What it `acknowledges` is still to be
    made its `effects`, for which the subscription must be found.
    """

    facts: Sequence[NewFact]
    condition: Condition | None = None
    next_id: str = ""
    acknowledges: Acknowledges | None = None
    effects: tuple[Effect, ...] = ()


def admit(principal: Principal, facts: Sequence[NewFact], *, pointer: str = "/facts/{}/namespace") -> Admitted:
    """Check the grants for facts. Raises Forbidden; `pointer` takes the index of the first fact without one."""
    if principal is not ANYBODY:
        check_namespaces(principal, facts, pointer)
    return Admitted(facts)


def under_condition(principal: Principal, admitted: Admitted, condition: Condition) -> Admitted:
    """The same facts under a condition over the facts that their principal may read. Raises Forbidden."""
    return replace(admitted, condition=condition if principal is ANYBODY else restrict_condition(principal, condition))


class Intake:
    """Passes admitted facts to the publisher."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, admitted: Admitted, *, tenant: str) -> Published:
        return await self._publisher.publish(
            admitted.facts,
            admitted.condition,
            tenant=tenant,
            next_id=admitted.next_id,
            effects=admitted.effects,
        )

    async def publish_in_order(self, admitted: Admitted, *, tenant: str) -> list[Outcome]:
        return await self._publisher.publish_in_order(admitted.facts, tenant=tenant)

    def submit(self, admitted: Admitted, on_outcome: Callable[[Outcome], None], *, tenant: str) -> Request:
        return self._publisher.submit(admitted.facts, admitted.condition, on_outcome, tenant=tenant)


def check_namespaces(principal: Principal, facts: Sequence[NewFact], pointer: str) -> None:
    allowed = ""
    for index, fact in enumerate(facts):
        if fact.namespace == allowed:
            continue
        if fact.namespace not in principal.grants.publish:
            detail = f"the credentials do not allow publishing in the namespace {fact.namespace}"
            field = FieldError(detail, pointer=pointer.format(index))
            raise Forbidden(blaming(field, otherwise="body"), field=field)
        allowed = fact.namespace


def restrict_condition(principal: Principal, condition: Condition) -> Condition:
    """Restrict a condition to the facts its author may read, so that other facts neither fail it nor leak through it.

    Raises Forbidden if it names a namespace that the author may not read. Such a condition would always hold, and
    its author would not know that it protects nothing.
    """
    readable = principal.grants.readable
    if readable.are_all:
        return condition
    return Condition(tuple(restrict_precondition(each, readable) for each in condition.preconditions))


def restrict_precondition(precondition: Precondition, readable: NamespaceSet) -> Precondition:
    """Restrict an item to the facts that its author may read, and its bound to the ids of such facts."""
    hidden = next((namespace for namespace in precondition.item.namespaces if namespace not in readable), None)
    item = restricted_item(precondition.item, readable)
    if hidden is not None or item is None:
        pointer = f"/condition{precondition.pointer}"
        why = f"namespace {hidden}" if hidden else "any namespace"
        detail = f"the credentials do not allow reading {why}, so a condition cannot depend on it"
        raise Forbidden(f"{pointer}: {detail}", field=FieldError(detail, pointer=pointer))
    after = precondition.after
    return replace(
        precondition, item=item, after=FactBound(after.id, readable) if isinstance(after, FactBound) else after
    )
