"""Activity: the number of facts published over time, together or by namespace or type."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.compression import encoded_response
from factwire.api.http.context import context_of
from factwire.api.http.query_parameters import Parameters, parameters_of, parse_time
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import READ_PROBLEMS, operation
from factwire.domain.errors import FieldError, InvalidRequest, LimitExceeded, MalformedParameter
from factwire.domain.fact import is_name, utc
from factwire.domain.grants import NamespaceSet, new_namespace_set
from factwire.domain.limits import VALUES_MAX
from factwire.store.activity import Grouping, Intervals, Series, read_activity

router = new_router("catalogue")

MINUTE_SECONDS = 60
INTERVAL_SECONDS_MAX = 7 * 86_400
INTERVALS_DEFAULT, INTERVALS_MAX = 60, 1500
GROUPINGS: tuple[Grouping, ...] = ("namespace", "type")
YEARS = (1970, 9999)


class ActivitySeries(msgspec.Struct):
    """Number of facts in each interval, oldest first, and in all of them."""

    total: int
    facts: list[int]
    namespace: Annotated[str | UnsetType, Meta(description="Omitted unless grouped.")] = UNSET
    type: Annotated[str | UnsetType, Meta(description="Omitted unless grouped by type.")] = UNSET


class Activity(msgspec.Struct, rename={"begin": "from", "end": "to"}):
    """Number of readable facts published in each interval, oldest interval first."""

    begin: Annotated[
        str, Meta(description="The beginning of the first interval.", extra_json_schema={"format": "date-time"})
    ]
    end: Annotated[str, Meta(description="The end of the last interval.", extra_json_schema={"format": "date-time"})]
    interval: Annotated[int, Meta(description="The length of an interval, in seconds.")]
    counted_until: Annotated[
        str,
        Meta(
            description="All facts published before this time are counted.", extra_json_schema={"format": "date-time"}
        ),
    ]
    series: Annotated[
        list[ActivitySeries], Meta(description="The 100 series with most facts, most facts first; one if not grouped.")
    ]
    rest: Annotated[
        ActivitySeries | UnsetType, Meta(description="All other series together; omitted if there are none.")
    ] = UNSET


@router.get(
    "/v1/activity",
    **operation(
        "get_activity",
        "How many facts were published over time.",
        description=(
            "Counts of the facts that may be read, by minute: `from` and `to` are extended to whole intervals. Facts "
            "are counted shortly after they are published; `counted_until` says how far that has come."
        ),
        rule=Rule.READ,
        parameters=("from", "to", "interval", "by", "namespace"),
        result=Activity,
        result_example="activity",
        problems=READ_PROBLEMS,
    ),
)
async def get_activity(request: Request) -> Response:
    parameters = parameters_of(request, "from", "to", "interval", "by", "namespace")
    context = context_of(request)
    intervals = intervals_of(parameters)
    by = parameters.get("by", parse_grouping, None)
    async with context.pools.read(context.tenants.tenant_of(request.scope)) as connection:
        counts = await read_activity(connection, readable_of(request, parameters), intervals, by=by)
    result = Activity(
        utc(intervals.begin),
        utc(intervals.end),
        intervals.seconds,
        utc(counts.counted_until),
        [series_body(each) for each in counts.series] or ([] if by else [ActivitySeries(0, [0] * intervals.count)]),
        UNSET if counts.rest is None else series_body(counts.rest),
    )
    return await encoded_response(request, msgspec.json.encode(result))


def intervals_of(parameters: Parameters) -> Intervals:
    """The requested intervals. They begin at multiples of their length since 1970, so that requests can be compared."""
    seconds = parameters.whole("interval", default=MINUTE_SECONDS, least=MINUTE_SECONDS, most=INTERVAL_SECONDS_MAX)
    if seconds % MINUTE_SECONDS:
        raise MalformedParameter("interval", "expected whole minutes, in seconds")
    end = aligned(parameters.get("to", parse_moment, datetime.now(UTC)), seconds, up=True)
    default = end - timedelta(seconds=INTERVALS_DEFAULT * seconds)
    intervals = Intervals(aligned(parameters.get("from", parse_moment, default), seconds, up=False), end, seconds)
    if intervals.begin >= end:
        raise MalformedParameter("from", "expected a time before `to`")
    if intervals.count > INTERVALS_MAX:
        detail = (
            f"{intervals.count} intervals are more than the {INTERVALS_MAX} of activity_intervals_max: "
            "choose longer intervals, or a later `from`"
        )
        raise LimitExceeded("activity_intervals_max", INTERVALS_MAX, field=FieldError(detail, parameter="interval"))
    return intervals


def aligned(time: datetime, seconds: int, *, up: bool) -> datetime:
    whole, rest = divmod(time - datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=seconds))
    return datetime.fromtimestamp((whole + (up and bool(rest))) * seconds, UTC)


def parse_moment(text: str) -> datetime:
    """Parse a time that intervals can be counted from and to. Raises ValueError."""
    time = parse_time(text)
    if not YEARS[0] <= time.year < YEARS[1]:
        raise ValueError(f"expected a time of the years {YEARS[0]} to {YEARS[1] - 1}")
    return time


def parse_grouping(text: str) -> Grouping | None:
    """Parse the name of a grouping. Raises ValueError."""
    for grouping in GROUPINGS:
        if grouping == text:
            return grouping
    raise ValueError(f"expected one of {', '.join(GROUPINGS)}")


def readable_of(request: Request, parameters: Parameters) -> NamespaceSet:
    """The readable namespaces; if some are named, those of them."""
    readable = principal_of(request).grants.readable
    if "namespace" not in parameters.values:
        return readable
    named = parameters.values["namespace"]
    if len(named) > VALUES_MAX:
        field = FieldError(
            f"{len(named)} values are more than the {VALUES_MAX} of query_values_max", parameter="namespace"
        )
        raise LimitExceeded("query_values_max", VALUES_MAX, field=field)
    for name in named:
        if not is_name(name):
            raise InvalidRequest([FieldError("expected the name of a namespace", parameter="namespace")])
    return new_namespace_set([name for name in named if name in readable])


def series_body(series: Series) -> ActivitySeries:
    return ActivitySeries(
        series.total,
        series.facts,
        UNSET if series.namespace is None else series.namespace,
        UNSET if series.type is None else series.type,
    )
