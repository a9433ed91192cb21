"""CSRF protection: a page of another site must not publish or change anything through a visitor's browser.

Such a page can reach an open service directly, or with forms. It cannot set arbitrary headers.
"""

from collections.abc import Collection

from starlette.types import Scope

from factwire.api.http.direct_response import SAFE_METHODS, header
from factwire.api.http.guards import Guard
from factwire.domain.errors import CrossOrigin


def same_site(origins: Collection[str]) -> Guard:
    """Guard: refuse unsafe methods of cross-site requests, except from allowed origins. Raises CrossOrigin."""
    allowed = frozenset(origin.encode() for origin in origins)

    def check(scope: Scope) -> None:
        if scope["method"] not in SAFE_METHODS and is_cross_site(scope) and header(scope, b"origin") not in allowed:
            raise CrossOrigin("Only a page of this service, or of an origin that is allowed, may do this.")

    return check


def is_cross_site(scope: Scope) -> bool:
    """True if a page of another site makes the request. Browsers send a header for this; other programs send neither.

    Over plain HTTP, except to the same machine, a browser sends no Sec-Fetch-Site, but the origin of the page.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site == b"cross-site"
    origin = header(scope, b"origin")
    return bool(origin) and origin.partition(b"://")[2] != header(scope, b"host")
