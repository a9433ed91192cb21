"""POST /v1/facts without ASGI and without a task, for requests that arrived whole."""

import logging
from collections.abc import Mapping
from functools import partial

from starlette.types import Scope

from factwire.api.http.context import Context
from factwire.api.http.direct_response import FORWARDED, REQUEST_ID, Exchange
from factwire.api.http.problems import problem_response
from factwire.api.http.publish_response import encode_result, status_of
from factwire.api.http.tenants import PRINCIPAL
from factwire.api.middleware.allowed_hosts import AllowedHosts
from factwire.api.middleware.request_id import RequestIds
from factwire.api.publish import parse_publish
from factwire.domain.errors import FactwireError, InternalError
from factwire.publish.batch import Outcome
from factwire.telemetry.logs import request_id
from factwire.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


HEADERS = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"


class FastPublish:
    """The same without a task: what the publisher tells is the answer.

    It is for `POST /v1/facts` without parameters, as JSON, of a process that neither logs, traces nor limits its
    requests. `hosts` are those that it answers for; None are all.
    """

    def __init__(self, context: Context, hosts: AllowedHosts | None) -> None:
        self._context = context
        self._hosts = hosts
        self._unforwarded = context.settings.is_open_implicitly
        self._ids = RequestIds()

    def accepts(self, scope: Scope, by_name: Mapping[bytes, bytes]) -> bool:
        """Whether it is known without waiting who asks, and that they may publish at all."""
        if self._hosts is not None and by_name.get(b"host", b"") not in self._hosts:
            return False
        if b"content-encoding" in by_name or (self._unforwarded and not FORWARDED.isdisjoint(by_name)):
            return False
        principal = self._context.access.known(by_name.get(b"authorization", b""))
        if principal is None or not principal.grants.publish.include:
            return False
        state = scope["state"]
        state[PRINCIPAL] = principal
        state[REQUEST_ID] = self._ids.id_for(by_name.get(b"x-request-id"))
        return True

    def __call__(self, exchange: Exchange) -> None:
        id = exchange.scope["state"][REQUEST_ID]
        answer = partial(self._answer, exchange, id)
        try:
            self._context.bodies.check_size(len(exchange.whole_body))
            principal = exchange.scope["state"][PRINCIPAL]
            facts, condition = parse_publish(self._context, principal, exchange.whole_body)
            tenant = self._context.tenants.tenant_of(exchange.scope)
            self._context.publisher.submit(facts, condition, answer, tenant=tenant)
        except FactwireError as error:
            answer(error)
        except Exception:
            self._fail(exchange, id)

    def _answer(self, exchange: Exchange, id: bytes, outcome: Outcome) -> None:
        try:
            if isinstance(outcome, FactwireError):
                refuse(exchange, id, outcome, self._context.metrics)
            else:
                body = encode_result(outcome)
                exchange.answer(status_of(outcome), HEADERS % (len(body), id), body)
        except Exception:
            self._fail(exchange, id)

    def _fail(self, exchange: Exchange, id: bytes) -> None:
        """Unknown errors are logged, with the id, and never leak their text."""
        token = request_id.set(id.decode())
        log.exception("a publish failed")
        request_id.reset(token)
        refuse(exchange, id, InternalError("The service failed; the cause is in its log."), self._context.metrics)


def refuse(exchange: Exchange, id: bytes, error: FactwireError, metrics: Metrics) -> None:
    metrics.request_refused(error.code)
    response = problem_response(error)
    headers = (*response.raw_headers, (b"x-request-id", id))
    exchange.answer(
        response.status_code, b"".join([b"%b: %b\r\n" % header for header in headers]), bytes(response.body)
    )
