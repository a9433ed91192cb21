"""Admitting: who may make a request at all, decided before its operation sees it. One rule an operation.

What somebody may publish or read is up to the operation itself, which asks for the principal.
"""

from dataclasses import replace
from enum import StrEnum
from functools import partial

from starlette.requests import Request
from starlette.types import Scope

from factwire.api.http.context import Context
from factwire.api.http.credentials import authenticate
from factwire.api.http.rate_limits import begin_request
from factwire.api.http.tenants import PRINCIPAL
from factwire.domain.condition import Condition
from factwire.domain.errors import FactwireError, FieldError, Forbidden, RateLimited, Unavailable, blaming
from factwire.domain.fact import NewFact
from factwire.domain.principal import ANY_READER, ANYBODY, Principal, Reader
from factwire.domain.query import restricted
from factwire.limits.quotas import Quotas


class Rule(StrEnum):
    """What an operation asks of whoever wants it."""

    OPEN = "open"
    READ = "read"
    PUBLISH = "publish"
    MANAGE = "manage"
    MANAGE_FACTS = "manage-facts"  # the operation asks in which namespace


async def authorize(context: Context, scope: Scope, rule: Rule) -> None:
    """Let a request in, or not. Raises Unauthenticated, Forbidden, and Unavailable where nobody can tell."""
    state = scope["state"]
    if context.access.is_open or rule is Rule.OPEN:
        state[PRINCIPAL] = ANYBODY
        return
    try:
        principal = await authenticate(context, scope)
    except Unavailable as error:
        if rule is not Rule.READ:
            raise
        # A stream has to end kindly where other reads fail: principal_of says so once it is asked.
        state[PRINCIPAL] = error
        return
    check_rule(principal, rule)
    state[PRINCIPAL] = principal
    if context.quotas is not None:
        count_request(context.quotas, scope, principal, rule)


def count_request(quotas: Quotas, scope: Scope, principal: Principal, rule: Rule) -> None:
    """Raises RateLimited; for what reads, principal_of does, so that a stream can end kindly."""
    try:
        begin_request(scope, quotas, principal.name)
    except RateLimited as error:
        if rule is not Rule.READ:
            raise
        scope["state"][PRINCIPAL] = error


def check_rule(principal: Principal, rule: Rule) -> None:
    if rule is Rule.PUBLISH and not principal.grants.publish.include:
        raise Forbidden("The credentials do not allow to publish.")
    if rule is Rule.MANAGE and not principal.grants.manages_access:
        raise Forbidden("The credentials do not allow to manage access.")
    if rule is Rule.MANAGE_FACTS and not principal.grants.manage.include:
        raise Forbidden("The credentials do not allow to manage any namespace.")


def principal_of(request: Request) -> Principal:
    """Who makes a request. Raises Unavailable where that could not be found out, and RateLimited."""
    principal: Principal | Unavailable | RateLimited = request.scope["state"][PRINCIPAL]
    if isinstance(principal, FactwireError):
        raise principal
    return principal


def reader_of(request: Request, context: Context) -> Reader:
    """The same, for what goes on for a while."""
    principal = principal_of(request)
    if principal is ANYBODY:
        return ANY_READER
    return Reader(principal.grants.readable, partial(check_principal, context, principal), principal.name)


def check_principal(context: Context, principal: Principal) -> None:
    """Raises Unauthenticated where somebody may not go on."""
    context.access.check(principal)
    context.sessions.check(principal)


def check_publishable(principal: Principal, facts: list[NewFact], *, pointer: str = "/facts/{}/namespace") -> None:
    """Raises Forbidden, naming the first fact that the principal may not publish; `pointer` takes its index."""
    if principal is ANYBODY:
        return
    allowed = ""
    for index, fact in enumerate(facts):
        if fact.namespace == allowed:
            continue
        if fact.namespace not in principal.grants.publish:
            raise forbidden_namespace(fact.namespace, pointer.format(index))
        allowed = fact.namespace


def forbidden_namespace(namespace: str, pointer: str) -> Forbidden:
    field = FieldError(f"the credentials do not allow to publish in the namespace {namespace}", pointer=pointer)
    return Forbidden(blaming(field, otherwise="body"), field=field)


def restrict_condition(principal: Principal, condition: Condition) -> Condition:
    """A condition over what its author may read: that of which he may not know can neither fail it nor be seen by it.

    Raises Forbidden where it names what he may not read. Such a condition would hold whatever is published, and who
    relies on it would not know that it protects nothing.
    """
    if principal is ANYBODY:
        return condition
    readable = principal.grants.readable
    for index, item in enumerate(condition.fail_if_match.items):
        hidden = next((namespace for namespace in item.namespaces if namespace not in readable), None)
        if hidden is not None or not readable.include:
            pointer = f"/condition/fail_if_match/{index}"
            detail = f"a condition looks at what may be read, which is {f'not {hidden}' if hidden else 'nothing'}"
            raise Forbidden(f"{pointer}: {detail}", field=FieldError(detail, pointer=pointer))
    return replace(condition, fail_if_match=restricted(condition.fail_if_match, readable))
