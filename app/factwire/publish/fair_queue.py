"""Fair queue of publish requests: tenants take turns by request cost, and each tenant keeps its order of arrival."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from heapq import heapify, heappop, heapreplace
from math import inf

from factwire.publish.batch import Request


class QueueTurn(Enum):
    """Decision about a request at its turn."""

    TAKE = "take"  # it is appended
    DROP = "drop"  # no caller waits for it any more
    HOLD = "hold"  # it waits, and with it the later requests of its tenant
    STOP = "stop"  # no further request is taken


TAKE, DROP, HOLD, STOP = QueueTurn  # looking a member up in its class takes longer than the rest of a turn


@dataclass(slots=True, eq=False)
class TenantQueue:
    """Waiting requests of one tenant. `starts_at` is the virtual time at which the first of them may start."""

    starts_at: float
    requests: deque[Request] = field(default_factory=deque)


class FairQueue:
    """Start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996), with the work under the append lock as cost.

    Each tenant has a line, and the next request is taken from the line that may start first. Its cost delays the next
    request of the same line: a tenant with large requests waits longer between them, and the other tenants never wait
    for more than one of them. A request that returns for another turn is charged again.
    """

    def __init__(self) -> None:
        self._lines: dict[str, TenantQueue] = {}
        self._length = 0
        self._now = 0.0

    def __bool__(self) -> bool:
        return self._length > 0

    def append(self, request: Request) -> None:
        self._line_of(request).requests.append(request)

    def return_first(self, request: Request) -> None:
        """Return a request that had its turn to the front of its tenant's line."""
        self._line_of(request).requests.appendleft(request)

    def _line_of(self, request: Request) -> TenantQueue:
        """Line that a request is about to join; counts the request."""
        self._length += 1
        line = self._lines.get(request.tenant)
        if line is None:
            line = self._lines[request.tenant] = TenantQueue(self._now)
        elif not line.requests:
            line.starts_at = max(line.starts_at, self._now)
        return line

    def take(self, ask: Callable[[Request], QueueTurn]) -> None:
        """Give requests their turns in fair order, until all are taken or must wait, or `ask` returns STOP."""
        if len(self._lines) == 1:  # no other tenant, and so no order to find
            [line] = self._lines.values()
            if line.requests:
                self._serve(line, ask, until=inf)
            self._forget_idle()
            return
        waiting = [(line.starts_at, place, line) for place, line in enumerate(self._lines.values()) if line.requests]
        heapify(waiting)
        turn = None
        while waiting and turn is not STOP:
            _, place, line = waiting[0]
            turn = self._serve(line, ask, until=min(waiting[1:3])[0] if len(waiting) > 1 else inf)
            if turn is HOLD or not line.requests:
                heappop(waiting)
            else:
                heapreplace(waiting, (line.starts_at, place, line))
        self._forget_idle()

    def _serve(self, line: TenantQueue, ask: Callable[[Request], QueueTurn], *, until: float) -> QueueTurn:
        """Give the requests of one line turns until one must wait or another line is next. Returns the last turn."""
        while True:
            turn = ask(line.requests[0])
            if turn is HOLD or turn is STOP:
                return turn
            request = line.requests.popleft()
            self._length -= 1
            if turn is TAKE:
                self._now = max(self._now, line.starts_at)
                line.starts_at += request.cost
            if not line.requests or line.starts_at >= until:
                return turn

    def charge(self, tenant: str, cost: float) -> None:
        """Delay the next request of a tenant by a cost, in addition to the cost of its earlier requests."""
        if tenant in self._lines:
            self._lines[tenant].starts_at += cost

    def _forget_idle(self) -> None:
        """Remove tenants that owe nothing: no waiting requests, and a start time that has been reached."""
        if not self._length:
            self._lines.clear()
            self._now = 0.0
        else:
            idle = [tenant for tenant, line in self._lines.items() if not line.requests and line.starts_at <= self._now]
            for tenant in idle:
                del self._lines[tenant]
