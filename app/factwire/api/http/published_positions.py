"""Attributing: the line of a request says who published which positions, where requests are logged.

Facts have no author: their publishers may be gone by the time they are read, and what readers see would tell of others.
"""

import logging
from collections.abc import Iterable

from starlette.types import Scope

from factwire.api.http.tenants import PRINCIPAL
from factwire.domain.errors import FactwireError
from factwire.domain.principal import Principal

log = logging.getLogger(__name__)

PUBLISHED = "factwire.published"
RANGES_MAX = 100  # of an import, beside which others publish; then there is a line for them


def note_published(scope: Scope, positions: Iterable[int]) -> None:
    """Keep which positions a request has published, for its line; positions come in order."""
    ranges: list[list[int]] = scope["state"].setdefault(PUBLISHED, [])
    for position in positions:
        if ranges and position == ranges[-1][1] + 1:
            ranges[-1][1] = position
        else:
            ranges.append([position, position])
    if len(ranges) >= RANGES_MAX:
        who, told = principal_name(scope), take_published(scope)
        log.info("%s has published %s", who, told, extra={"principal": who, "published": told})


def take_published(scope: Scope) -> str:
    """Which positions a request has published since this was asked, as `5-7,9`; empty for none."""
    ranges: list[list[int]] = scope["state"].pop(PUBLISHED, [])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


def principal_name(scope: Scope) -> str:
    """Who makes a request, as far as that was found out; `-` where it was not."""
    principal: Principal | FactwireError | None = scope["state"].get(PRINCIPAL)
    return principal.name if isinstance(principal, Principal) else "-"
