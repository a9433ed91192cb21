"""Session cookie for the explorer page: no other origin can use it, and no script can read it.

Over TLS it is `__Host-factwire`: no other host can set it, and it is never sent unencrypted. A browser keeps such a
cookie only from a secure origin, so on a loopback address without TLS it is `factwire`.
"""

import math
import re

from starlette.requests import Request

from factwire.api.http.direct_response import SAFE_METHODS

SECURE_NAME, LOOPBACK_NAME = "__Host-factwire", "factwire"
LOOPBACK_HOST = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?")


def session_of(request: Request) -> str | None:
    """Secret of the session that the browser sends."""
    return request.cookies.get(cookie_name(request))


def set_cookie(request: Request, secret: str, *, seconds: float) -> str:
    """Value of Set-Cookie that keeps a session; 0 seconds end it."""
    name = cookie_name(request)
    secure = "; Secure" if name == SECURE_NAME else ""
    return f"{name}={secret}; Path=/; Max-Age={math.ceil(seconds)}; HttpOnly; SameSite=Strict{secure}"


def cookie_name(request: Request) -> str:
    """Name of the cookie, by the host that the browser sees: after a proxy that ends TLS, the scheme here is http."""
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    return LOOPBACK_NAME if LOOPBACK_HOST.fullmatch(request.headers.get("host", "")) and not secure else SECURE_NAME


def is_same_origin(request: Request) -> bool:
    """True if a page of this origin made the request, as the browser reports, or if the request changes nothing.

    SameSite=Strict does not exclude pages of other hosts of the same site.
    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    """
    if request.method in SAFE_METHODS:
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host = request.headers.get("host")
    return request.headers.get("origin") in {f"https://{host}", f"http://{host}"}
