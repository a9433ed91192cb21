"""Publishing: the route, and a shortcut past ASGI to the same for requests that have arrived whole."""

import logging
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from msgspec import UNSET
from starlette.requests import Request
from starlette.types import Scope

from factwire.api.admitting import Rule, check_publishable, looking_at_readable, principal_of
from factwire.api.answering import answer_publish, result, status_of
from factwire.api.asgi import FORWARDED, REQUEST_ID, Exchange, JsonAnswer
from factwire.api.context import Context, context_of
from factwire.api.decoding import Decoder
from factwire.api.documenting import PUBLISH_PROBLEMS, operation
from factwire.api.hosts import Hosts
from factwire.api.identifying import Ids
from factwire.api.parameters import parameters_of
from factwire.api.problems import problem_response
from factwire.api.routing import new_router
from factwire.api.tenants import PRINCIPAL
from factwire.api.wire import PublishBody, PublishResult, condition_from, facts_from
from factwire.domain.condition import Condition
from factwire.domain.errors import FactwireError, InternalError
from factwire.domain.fact import NewFact
from factwire.domain.principal import Principal
from factwire.stream.grouping import Outcome
from factwire.telemetry.logs import request_id
from factwire.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

router = new_router("facts")

PUBLISH = Decoder(PublishBody)
HEADERS = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"


@router.post(
    "/v1/facts",
    **operation(
        "publish",
        "Publish facts together, or none of them.",
        rule=Rule.PUBLISH,
        body=PublishBody,
        body_example="publish",
        result=PublishResult,
        result_example="published",
        status=HTTPStatus.CREATED,
        other_results={200: "All ids are known with equal content: the original positions."},
        problems=PUBLISH_PROBLEMS,
    ),
)
async def publish(request: Request) -> JsonAnswer:
    context = context_of(request)
    parameters_of(request)
    facts, condition = wanted(context, principal_of(request), await context.bodies.read_json(request))
    return await answer_publish(request, facts, condition)


class PublishingAtOnce:
    """The same without a task: what the publisher tells is the answer.

    It is for `POST /v1/facts` without parameters, as JSON, of a process that neither logs, traces nor limits its
    requests. `hosts` are those that it answers for; None are all.
    """

    def __init__(self, context: Context, hosts: Hosts | None) -> None:
        self._context = context
        self._hosts = hosts
        self._unforwarded = context.settings.is_open_implicitly
        self._ids = Ids()

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
            facts, condition = wanted(self._context, principal, exchange.whole_body)
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
                body = result(outcome)
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


def wanted(context: Context, principal: Principal, raw: bytes) -> tuple[list[NewFact], Condition | None]:
    """What a body wants published. A condition looks at what its author may read. Raises FactwireError."""
    body, payloads = PUBLISH.decode(raw)
    facts = facts_from(body, payloads, context.limits)
    check_publishable(principal, facts)
    if body.condition is None or body.condition is UNSET:
        return facts, None
    return facts, looking_at_readable(principal, condition_from(body.condition))
