"""Fast path of POST /v1/facts, without ASGI and without a task, for requests that arrived whole.

It saves a third of the processor time of a publish (docs/decisions/0003-the-data-path.md). It runs the same guards,
authorization and intake as every other request, and takes only requests that pass without waiting: any other request
takes the ASGI path, which answers or refuses it.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial

from starlette.types import Scope

from factwire.api.http.acknowledging import finish, with_effects
from factwire.api.http.authorization import Rule, authorize_at_once
from factwire.api.http.content_coding import check_no_coding
from factwire.api.http.context import Context
from factwire.api.http.direct_response import REQUEST_ID, WholeRequest, write, write_json
from factwire.api.http.guards import Guard
from factwire.api.http.problems import problem_response
from factwire.api.http.publish_response import encode_result, status_of
from factwire.api.http.tenants import PRINCIPAL
from factwire.api.middleware.request_id import RequestIds
from factwire.api.publish import parse_publish
from factwire.domain.errors import FactwireError, InternalError
from factwire.publish.batch import Outcome
from factwire.publish.intake import Admitted
from factwire.telemetry.logs import request_id

log = logging.getLogger(__name__)


class FastPublish:
    """Fast publish path, for a process that neither logs, traces nor limits its requests."""

    def __init__(self, context: Context, guards: Sequence[Guard], ids: RequestIds) -> None:
        self._context = context
        self._guards = (*guards, check_no_coding)
        self._ids = ids
        self._tasks: set[asyncio.Task[None]] = set()

    def accepts(self, scope: Scope) -> bool:
        """True if all guards pass and the principal is known without waiting."""
        try:
            for guard in self._guards:
                guard(scope)
            return authorize_at_once(self._context, scope, Rule.PUBLISH)
        except FactwireError:
            return False

    def __call__(self, request: WholeRequest) -> None:
        self._ids.begin(request.scope)
        answer = partial(self._answer, request)
        try:
            self._context.bodies.check_size(len(request.whole_body))
            admitted = parse_publish(self._context, request.scope["state"][PRINCIPAL], request.whole_body)
            tenant = self._context.tenants.tenant_of(request.scope)
            if admitted.acknowledges is None:
                self._context.intake.submit(admitted, answer, tenant=tenant)
            else:
                self._spawn(self._acknowledge(request, admitted, tenant))
        except FactwireError as error:
            answer(error)
        except Exception:
            self._fail(request)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _acknowledge(self, request: WholeRequest, admitted: Admitted, tenant: str) -> None:
        """Publish with acknowledgements, for which the subscription must be found."""
        context = self._context
        try:
            admitted = await with_effects(context, request.scope["state"][PRINCIPAL], admitted)
            published = await context.intake.publish(admitted, tenant=tenant)
            acknowledged = await finish(context, admitted, published)
            write_json(request, request.scope, status_of(published), encode_result(published, acknowledged))
        except FactwireError as error:
            self._answer(request, error)
        except Exception:
            self._fail(request)

    def _answer(self, request: WholeRequest, outcome: Outcome) -> None:
        try:
            if isinstance(outcome, FactwireError):
                self._refuse(request, outcome)
            else:
                write_json(request, request.scope, status_of(outcome), encode_result(outcome))
        except Exception:
            self._fail(request)

    def _fail(self, request: WholeRequest) -> None:
        """Log an unknown error with the id of the request; its text is never sent."""
        token = request_id.set(request.scope["state"][REQUEST_ID].decode())
        log.exception("a publish failed")
        request_id.reset(token)
        self._refuse(request, InternalError("The service failed; the cause is in its log."))

    def _refuse(self, request: WholeRequest, error: FactwireError) -> None:
        self._context.metrics.request_refused(error.code)
        response = problem_response(error)
        write(request, request.scope, response.status_code, response.raw_headers, bytes(response.body))
