"""Connection limiter: bounds the open connections of a process, in total and for each client address."""

import logging
import time
from collections import Counter

from factwire.limits.client_address import Proxies, source_of

log = logging.getLogger(__name__)

LOG_AGAIN_SECONDS = 60.0
PROBING_MAX = 16  # connections above the limit, on which only probes are answered


class ConnectionLimiter:
    """Counts connections, and refuses those above a limit.

    The limit for an address does not apply to trusted proxies: each of them stands for many clients.
    """

    def __init__(self, *, connections_max: int, address_connections_max: int | None, proxies: Proxies) -> None:
        self._connections_max = connections_max
        self._address_connections_max = address_connections_max
        self._proxies = proxies
        self._by_source: Counter[str] = Counter()
        self._logged_at = -LOG_AGAIN_SECONDS
        self.open = 0
        self.probing = 0
        self.refused = 0

    def admit(self, address: str) -> bool:
        """True if a new connection is admitted; `leave` must be called when it closes."""
        limit = self._address_connections_max
        if self.open >= self._connections_max:
            return self._refuse("FACTWIRE_CONNECTIONS_MAX")
        if limit is not None:
            source = source_of(address)
            if self._by_source[source] >= limit and not self._proxies.trusts(address):
                return self._refuse("FACTWIRE_ADDRESS_CONNECTIONS_MAX")
            self._by_source[source] += 1
        self.open += 1
        return True

    def admit_probe(self) -> bool:
        """True if a connection above the total limit is admitted for probes; `release_probe` must follow.

        Otherwise an orchestrator that restarts a process without answer would restart the one with the highest load.
        """
        if self.open < self._connections_max or self.probing >= PROBING_MAX:
            return False  # only one address is over its limit, or the probe connections are full as well
        self.probing += 1
        return True

    def release_probe(self) -> None:
        self.probing -= 1

    def leave(self, address: str) -> None:
        self.open -= 1
        if self._address_connections_max is not None:
            source = source_of(address)
            self._by_source[source] -= 1
            if self._by_source[source] <= 0:
                del self._by_source[source]

    def _refuse(self, setting: str) -> bool:
        """Count a refusal and log it, but not each one.

        Many connections may come at once, and a log line for each would be an attack of its own.
        """
        self.refused += 1
        if time.monotonic() - self._logged_at > LOG_AGAIN_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("connections are refused: %s is reached (%d so far)", setting, self.refused)
        return False
