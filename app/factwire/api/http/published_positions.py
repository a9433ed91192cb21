"""Audit of publishes: if requests are logged, the log line of a request names its principal and positions.

Facts have no author: their publishers may be gone by the time they are read, and readers would learn of other
principals.
"""

import logging
from collections.abc import Iterable

from starlette.types import Scope

from factwire.api.http.tenants import PRINCIPAL
from factwire.domain.errors import FactwireError
from factwire.domain.principal import Principal

log = logging.getLogger(__name__)

PUBLISHED = "factwire.published"
RANGES_MAX = 100  # reached by an import while others publish; the ranges then get a log line


def note_published(scope: Scope, positions: Iterable[int]) -> None:
    """Keep the positions that a request has published, for its log line; positions come in order."""
    ranges: list[list[int]] = scope["state"].setdefault(PUBLISHED, [])
    for position in positions:
        if ranges and position == ranges[-1][1] + 1:
            ranges[-1][1] = position
        else:
            ranges.append([position, position])
    if len(ranges) >= RANGES_MAX:
        principal, published = principal_name(scope), take_published(scope)
        log.info("%s has published %s", principal, published, extra={"principal": principal, "published": published})


def take_published(scope: Scope) -> str:
    """Positions that a request has published since the last call, as `5-7,9`; empty if there are none."""
    ranges: list[list[int]] = scope["state"].pop(PUBLISHED, [])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


def principal_name(scope: Scope) -> str:
    """Name of the principal of a request; `-` if it is not known."""
    principal: Principal | FactwireError | None = scope["state"].get(PRINCIPAL)
    return principal.name if isinstance(principal, Principal) else "-"
