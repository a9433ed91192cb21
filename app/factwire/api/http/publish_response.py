"""Publish response: publishes facts that are in their normal form, and encodes the result."""

import asyncio
from http import HTTPStatus

import msgspec
from msgspec import UNSET
from starlette.requests import Request

from factwire.api.http.acknowledging import finish, with_effects
from factwire.api.http.authorization import principal_of
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JsonAnswer
from factwire.api.http.models import PublishedFact, PublishResult
from factwire.api.http.published_positions import note_published
from factwire.api.http.rate_limits import spend_facts
from factwire.domain.errors import OutcomeUnknown
from factwire.publish.batch import Published
from factwire.publish.intake import Admitted

RESULT = msgspec.json.Encoder()


async def answer_publish(request: Request, admitted: Admitted) -> JsonAnswer:
    spend_facts(request.scope, len(admitted.facts))
    context = context_of(request)
    admitted = await with_effects(context, principal_of(request), admitted)
    try:
        published = await publish_traced(request, admitted)
        acknowledged = await finish(context, admitted, published)
    except asyncio.CancelledError:  # by the server, when its time limit to finish has passed
        raise OutcomeUnknown([fact.id for fact in admitted.facts]) from None
    if context.settings.log_requests and not published.replayed:
        note_published(request.scope, published.positions)
    return JsonAnswer(encode_result(published, acknowledged), status_of(published))


async def publish_traced(request: Request, admitted: Admitted) -> Published:
    context = context_of(request)
    tenant = context.tenants.tenant_of(request.scope)
    if context.tracing is None:
        return await context.intake.publish(admitted, tenant=tenant)
    with context.tracing.publishing(request.headers.get("traceparent", ""), len(admitted.facts)) as span:
        published = await context.intake.publish(admitted, tenant=tenant)
        span.set_attribute("factwire.position", published.cursor.position)
        return published


def encode_result(published: Published, acknowledged: int | None = None) -> bytes:
    cursor = published.cursor
    return RESULT.encode(
        PublishResult(
            facts=list(map(PublishedFact, published.ids, published.positions)),
            position=cursor.position,
            cursor=str(cursor),
            published_at=published.published_at,
            acknowledged=UNSET if acknowledged is None else acknowledged,
        )
    )


def status_of(published: Published) -> HTTPStatus:
    return HTTPStatus.OK if published.replayed else HTTPStatus.CREATED
