"""Export response: the whole result up to the head, streamed, one fact per line."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import reader_of
from factwire.api.http.bodies import NDJSON
from factwire.api.http.compression import STREAMED_BYTES, streamed_response
from factwire.api.http.context import context_of
from factwire.api.http.query_parameters import FILTERS, parameters_of
from factwire.api.http.representation import ENVELOPE, Representation
from factwire.follow.pages import PageRequest, export

EXPORT_PARAMETERS = (*FILTERS, "after", "until")


async def answer_export(request: Request, representation: Representation = ENVELOPE) -> Response:
    """Stream the lines of all pages."""
    parameters = parameters_of(request, *EXPORT_PARAMETERS)
    context = context_of(request)
    reader = reader_of(request, context)
    page_request = PageRequest(
        query=reader.sees(parameters.query(context.limits)),
        after=parameters.bound("after", "start"),
        until=parameters.optional_bound("until"),
        descending=False,
        facts_max=context.settings.page_facts_max,
        reader=reader,
        tenant=context.tenants.tenant_of(request.scope),
    )
    context.unread.refuse_beyond(page_request.tenant, STREAMED_BYTES)
    # The first page is read before the response begins, so that an error in the request can still set the status.
    pages = export(context.pools, context.tail, page_request)
    first = await anext(pages, b"")

    async def all_pages() -> AsyncIterator[bytes]:
        page: bytes | None = first
        while page is not None:
            context.metrics.page_read()
            yield await representation.lines(page)
            page = await anext(pages, None)

    return streamed_response(request, all_pages(), media_type=NDJSON)
