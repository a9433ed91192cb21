"""Facts: pages of history, search, and single facts by id or position."""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of, reader_of
from factwire.api.http.compression import encoded_response
from factwire.api.http.context import context_of
from factwire.api.http.models import Fact, Page, QueryBody
from factwire.api.http.query_body import read_query
from factwire.api.http.query_parameters import FILTERS, Parameters, parameters_of
from factwire.api.http.representation import page_json
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import EXAMPLE_ID, READ_PROBLEMS, operation
from factwire.domain import errors
from factwire.domain.errors import FactNotFound, MalformedParameter
from factwire.domain.position import FACT_ID, POSITION_MAX, START, Position, parse_cursor
from factwire.domain.query import Query
from factwire.follow.pages import FoundPage, PageRequest, find_page
from factwire.store.read import read_fact

router = new_router("facts")

LIMIT_DEFAULT = 100
PAGING = ("after", "until", "limit", "order", "wait_seconds")


@router.get(
    "/v1/facts",
    **operation(
        "read",
        "Read a page of history.",
        description=(
            "Facts after a cursor that match the filters, oldest or newest first. A page may be short or "
            "empty and still not be the last one: continue until `caught_up` is true. With `wait_seconds`, "
            "an empty page at the head waits for the first match (long poll)."
        ),
        rule=Rule.READ,
        parameters=(*FILTERS, *PAGING),
        result=Page,
        result_example="page",
        other_results={304: "The page is the one with the given ETag."},
        problems=READ_PROBLEMS,
    ),
)
async def read_page(request: Request) -> Response:
    parameters = parameters_of(request, *FILTERS, *PAGING)
    return await answer_page(request, parameters, parameters.query(context_of(request).limits))


@router.post(
    "/v1/facts/search",
    **operation(
        "search",
        "Read a page of history, with the query in the body.",
        description="The same as read, for queries of several items, or of values that are too long for a URL.",
        rule=Rule.READ,
        parameters=PAGING,
        body=QueryBody,
        body_example="query",
        result=Page,
        result_example="page",
        other_results={304: "The page is the one with the given ETag."},
        problems=(
            *READ_PROBLEMS,
            errors.MalformedJson,
            errors.RequestTimeout,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
        ),
    ),
)
async def search(request: Request) -> Response:
    parameters = parameters_of(request, *PAGING)
    return await answer_page(request, parameters, await read_query(request))


@router.get(
    "/v1/facts/at/{position}",
    **operation(
        "get_fact_at",
        "The fact at a position.",
        description="Positions are 1, 2, 3 …, in the order of the commits and without gaps.",
        rule=Rule.READ,
        path_parameters={"position": 42},
        result=Fact,
        result_example="fact",
        problems=READ_PROBLEMS,
    ),
)
async def get_fact_at(request: Request) -> Response:
    parameters_of(request)
    try:
        cursor = parse_cursor(request.path_params["position"])
    except ValueError as error:
        raise MalformedParameter("position", str(error)) from None
    if cursor.epoch:
        raise MalformedParameter("position", "expected a position without an epoch")
    if not START < cursor.position < POSITION_MAX:
        raise FactNotFound(f"There is no fact at position {cursor.position}.")
    return await answer_fact(request, cursor.position)


@router.get(
    "/v1/facts/{id}",
    **operation(
        "get_fact",
        "The fact with an id.",
        description="A fact that may not be read is not found, as if it did not exist.",
        rule=Rule.READ,
        path_parameters={"id": EXAMPLE_ID},
        result=Fact,
        result_example="fact",
        problems=READ_PROBLEMS,
    ),
)
async def get_fact(request: Request) -> Response:
    parameters_of(request)
    text = request.path_params["id"]
    if not FACT_ID.fullmatch(text):
        place = f": the fact at that position is /v1/facts/at/{text}" if text.isdecimal() and text.isascii() else ""
        raise MalformedParameter("id", f"expected the id of a fact, a UUID{place}")
    return await answer_fact(request, UUID(text))


async def answer_fact(request: Request, at: UUID | Position) -> Response:
    context = context_of(request)
    async with context.pools.read(context.tenants.tenant_of(request.scope)) as connection:
        position, body = await read_fact(
            connection, at, principal_of(request).grants.readable, master_keys=context.pools.master_keys
        )
    context.tail.refuse_beyond_fork(position)
    return await encoded_response(request, body)


async def answer_page(request: Request, parameters: Parameters, query: Query) -> Response:
    context = context_of(request)
    settings = context.settings
    reader = reader_of(request, context)
    page_request = PageRequest(
        query=reader.sees(query),
        after=parameters.bound("after", "start"),
        until=parameters.optional_bound("until"),
        descending=parameters.choice("order", ("asc", "desc"), "asc") == "desc",
        facts_max=parameters.whole(
            "limit", default=min(LIMIT_DEFAULT, settings.page_facts_max), least=1, most=settings.page_facts_max
        ),
        wait_seconds=parameters.number("wait_seconds", default=0, least=0, most=settings.wait_seconds_max),
        reader=reader,
        tenant=context.tenants.tenant_of(request.scope),
    )
    with context.queries.held(page_request.tenant, page_request.query.bytes):
        found = await find_page(context.pools, context.tail, page_request)
    context.metrics.page_read()
    headers = {} if found.caught_up and page_request.descending else {"link": next_link(request, page_request, found)}
    return await encoded_response(request, page_json(found, descending=page_request.descending), headers=headers)


def next_link(request: Request, page_request: PageRequest, found: FoundPage) -> str:
    """Link to the next page: the same request from the end of this page. Relative, so that it works through proxies."""
    name = "until" if page_request.descending else "after"
    url = request.url.include_query_params(**{name: str(found.page.cursor)})
    return f'<{url.path}?{url.query}>; rel="next"'
