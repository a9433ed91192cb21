"""Memory reservation: the memory of a response, or of its query, counts against a budget while it is sent."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from factwire.domain.budget import Budget


class ReservedResponse(Response):
    """Response that holds part of a budget while it is sent. It has to be sent, or dropped, at once."""

    def __init__(self, answer: Response, budget: Budget, tenant: str, count: int) -> None:
        self._answer = answer
        self._budget = budget
        self._tenant = tenant
        self._count = count
        self.status_code = answer.status_code
        self.raw_headers = answer.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._budget.hold(self._tenant, self._count)
        try:
            await self._answer(scope, receive, send)
        finally:
            self._budget.give_back(self._tenant, self._count)
