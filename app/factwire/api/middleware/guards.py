"""Guarding: what is refused before anybody asks who makes a request.

A page of another site reaches an open service through the browser of somebody who may: directly, by forms, or by a name
of its own that leads to the address of the service (DNS rebinding). Neither can set headers as it likes.
"""

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from factwire.api.http.direct_response import SAFE_METHODS, header, is_forwarded
from factwire.api.http.problems import problem_response
from factwire.api.http.rate_limits import begin_request, count_body
from factwire.api.http.reconnect_later import ReconnectLater
from factwire.api.http.stream_options import STREAMS
from factwire.api.middleware.allowed_hosts import AllowedHosts
from factwire.domain.errors import CrossOrigin, FactwireError, Forbidden, RateLimited, WrongHost
from factwire.limits.client_address import Proxies, source_of
from factwire.limits.quotas import quotas_of
from factwire.settings import Settings

log = logging.getLogger(__name__)

PROBES = frozenset({"/livez", "/readyz", "/metrics"})  # asked by any address and by any name, and never too often


OPEN_TO_PROXY = (
    "without FACTWIRE_AUTH the service is open to this machine alone, and a proxy would open it to others: set"
    " FACTWIRE_AUTH=keys, or FACTWIRE_AUTH=none for a service that is open to whoever reaches it"
)


class Guard:
    """Hands on the requests that are for this service, of no foreign page, and within the limits of their address."""

    def __init__(
        self, app: ASGIApp, settings: Settings, returns: ReconnectLater, *, hosts: AllowedHosts | None, proxies: Proxies
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(origin.encode() for origin in settings.origins)
        self._proxies = proxies
        self._returns = returns
        self._unforwarded = settings.is_open_implicitly
        self._told = False
        self.quotas = quotas_of(settings, "address")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except RateLimited as error:
            is_stream = scope["path"] in STREAMS
            answer = self._returns.later() if is_stream else problem_response(error)
            await answer(scope, receive, send)
        except FactwireError as error:
            await problem_response(error)(scope, receive, send)
        else:
            await self._app(scope, receive if self.quotas is None else count_body(scope, receive), send)

    def _check(self, scope: Scope) -> None:
        """Raises FactwireError where a request is not handed on."""
        if self._hosts is not None and header(scope, b"host") not in self._hosts:
            raise WrongHost("The Host header names no host of this service; FACTWIRE_ALLOWED_HOSTS adds names.")
        if self._unforwarded and is_forwarded(scope):
            if not self._told:
                self._told = True
                log.warning("requests that a proxy has forwarded are refused: %s", OPEN_TO_PROXY)
            raise Forbidden(OPEN_TO_PROXY)
        if scope["method"] not in SAFE_METHODS and is_foreign(scope) and header(scope, b"origin") not in self._origins:
            raise CrossOrigin("Only a page of this service, or of an origin that is allowed, may do this.")
        if self.quotas is not None:
            begin_request(scope, self.quotas, source_of(self._proxies.address_of(scope)))


def is_foreign(scope: Scope) -> bool:
    """Whether the page of another site makes a request. A browser says so; programs say nothing.

    To plain http elsewhere than on the same machine it sends no Sec-Fetch-Site, but the origin of the page.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site == b"cross-site"
    origin = header(scope, b"origin")
    return bool(origin) and origin.partition(b"://")[2] != header(scope, b"host")
