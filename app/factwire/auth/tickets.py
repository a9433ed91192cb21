"""Single-use tickets: each opens one stream of one query once.

They are for EventSource, which cannot send an Authorization header.
"""

import json
from dataclasses import replace
from hashlib import sha256
from secrets import token_urlsafe

from factwire.auth.browser_credentials import (
    Current,
    IssuedSecret,
    current_principal,
    encode_principal,
    has_secret_form,
    owner_prefix,
    require_session,
    seconds_left,
)
from factwire.auth.key_format import digest
from factwire.domain.errors import Unauthenticated
from factwire.domain.principal import Principal
from factwire.domain.query import Query
from factwire.store.pools import Pools
from factwire.store.tickets import issue_ticket, use_ticket

TICKET_PREFIX = "fwt_"


TICKETS_MAX = 1000  # unused tickets of one principal


class Tickets:
    """Issues and redeems tickets. Each opens one stream of one query once."""

    def __init__(self, pools: Pools, current: Current, *, seconds: float) -> None:
        self._pools = pools
        self._current = current
        self._seconds = seconds

    async def issue(self, principal: Principal, query: Query) -> IssuedSecret:
        secret, seconds = TICKET_PREFIX + token_urlsafe(32), seconds_left(principal, self._seconds)
        async with require_session(), self._pools.manage.acquire() as connection:
            expires_at = await issue_ticket(
                connection,
                digest(secret),
                principal=encode_principal(principal),
                query=fingerprint(query),
                owner=owner_prefix(principal),
                tickets_max=TICKETS_MAX,
                seconds=seconds,
                session=principal.session or None,
            )
        return IssuedSecret(secret, expires_at, seconds)

    async def use(self, ticket: str, query: Query) -> Principal:
        """Use up a ticket, even if it is for another query. Raises Unauthenticated."""
        found = None
        if has_secret_form(ticket, TICKET_PREFIX):
            async with self._pools.manage.acquire() as connection:
                found = await use_ticket(connection, digest(ticket))
        if found is None or found.query != fingerprint(query):
            raise Unauthenticated("The ticket was used, has expired, or is for another query: request a new one.")
        return replace(current_principal(found.principal, self._current), session=found.session or b"")


def fingerprint(query: Query) -> bytes:
    """Hash of a query, independent of the order of its items."""
    items = sorted(
        [item.namespaces, item.types, item.tags, *([item.any_tags] if item.any_tags else [])] for item in query.items
    )
    return sha256(json.dumps(items).encode()).digest()
