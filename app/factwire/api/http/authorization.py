"""Authorization of requests: each operation has one rule, which is applied before the operation runs.

The operation itself decides, by its principal, which facts a request may publish or read.
"""

from enum import StrEnum
from functools import partial

from starlette.requests import Request
from starlette.types import Scope

from factwire.api.http.context import Context
from factwire.api.http.credentials import authenticate
from factwire.api.http.direct_response import header
from factwire.api.http.rate_limits import begin_request
from factwire.api.http.tenants import PRINCIPAL
from factwire.domain.errors import FactwireError, Forbidden, RateLimited, Unavailable
from factwire.domain.principal import ANY_READER, ANYBODY, Principal, Reader
from factwire.limits.quotas import Quotas


class Rule(StrEnum):
    """Permission that an operation requires."""

    OPEN = "open"
    READ = "read"
    PUBLISH = "publish"
    MANAGE = "manage"
    SUBSCRIBE = "subscribe"  # the operation itself checks the name of the subscription
    MANAGE_FACTS = "manage-facts"  # the operation itself checks the namespace


async def authorize(context: Context, scope: Scope, rule: Rule) -> None:
    """Authenticate a request and apply the rule of its operation.

    Raises Unauthenticated, Forbidden, and Unavailable if the credentials cannot be verified now.
    """
    if authorize_at_once(context, scope, rule):
        return
    try:
        principal = await authenticate(context, scope)
    except Unavailable as error:
        if rule is not Rule.READ:
            raise
        # principal_of raises this error later: other reads fail with it, but a stream has to end cleanly.
        scope["state"][PRINCIPAL] = error
        return
    accept(context, scope, rule, principal)


def authorize_at_once(context: Context, scope: Scope, rule: Rule) -> bool:
    """Authorize a request without waiting. False if that needs I/O; nothing has changed then."""
    if context.access.is_open or rule is Rule.OPEN:
        scope["state"][PRINCIPAL] = ANYBODY
        return True
    principal = context.access.known(header(scope, b"authorization"))
    if principal is None:
        return False
    accept(context, scope, rule, principal)
    return True


def accept(context: Context, scope: Scope, rule: Rule, principal: Principal) -> None:
    check_rule(principal, rule)
    scope["state"][PRINCIPAL] = principal
    if context.quotas is not None:
        count_request(context.quotas, scope, principal, rule)


def count_request(quotas: Quotas, scope: Scope, principal: Principal, rule: Rule) -> None:
    """Count a request. Raises RateLimited; for a read, principal_of raises it, so that a stream can end cleanly."""
    try:
        begin_request(scope, quotas, principal.name)
    except RateLimited as error:
        if rule is not Rule.READ:
            raise
        scope["state"][PRINCIPAL] = error


def check_rule(principal: Principal, rule: Rule) -> None:
    if rule is Rule.PUBLISH and not principal.grants.publish.include:
        raise Forbidden("The credentials do not allow publishing.")
    if rule is Rule.MANAGE and not principal.grants.manages_access:
        raise Forbidden("The credentials do not allow managing access.")
    if rule is Rule.SUBSCRIBE and not principal.grants.subscribe.include:
        raise Forbidden("The credentials do not allow any subscription.")
    if rule is Rule.MANAGE_FACTS and not principal.grants.manage.include:
        raise Forbidden("The credentials do not allow managing any namespace.")


def principal_of(request: Request) -> Principal:
    """Principal of a request. Raises RateLimited, and Unavailable if the credentials could not be verified."""
    principal: Principal | Unavailable | RateLimited = request.scope["state"][PRINCIPAL]
    if isinstance(principal, FactwireError):
        raise principal
    return principal


def reader_of(request: Request, context: Context) -> Reader:
    """Reader for a long-running request: the principal with a check of its credentials. Raises as principal_of."""
    principal = principal_of(request)
    if principal is ANYBODY:
        return ANY_READER
    return Reader(principal.grants.readable, partial(check_principal, context, principal), principal.name)


def check_principal(context: Context, principal: Principal) -> None:
    """Raises Unauthenticated if the credentials or the session of a principal are no longer valid."""
    context.access.check(principal)
    context.sessions.check(principal)
