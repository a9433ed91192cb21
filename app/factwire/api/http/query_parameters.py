"""Query parameters: parsed strictly, so that a misspelt filter never widens a read."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import unquote, unquote_to_bytes

from starlette.requests import Request

from factwire.api.http.json_decoding import Decoder
from factwire.api.http.model_conversion import item_from, query_from
from factwire.api.http.models import QueryBody, QueryItemBody
from factwire.domain.errors import (
    FactwireError,
    FieldError,
    InvalidRequest,
    LimitExceeded,
    MalformedJson,
    MalformedParameter,
    UnknownParameter,
)
from factwire.domain.fact import META_KEY
from factwire.domain.limits import NAME_LENGTH_MAX, Limits
from factwire.domain.position import Bound, parse_bound
from factwire.domain.query import EVERYTHING, Query

T = TypeVar("T")

PART_OF = {
    "namespace": "namespaces",
    "type": "types",
    "aggregate_id": "aggregate_ids",
    "any_aggregate_id": "any_aggregate_id",
    "meta": "meta",
}
REPEATABLE = frozenset(PART_OF)
FILTERS = (*sorted(REPEATABLE), "query")
QUERY = Decoder(QueryBody)
NUL = "\x00"
CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
DATE_TIME = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[Tt]({CLOCK}):([0-5][0-9]|60)(?:\.([0-9]+))?([Zz]|[+-]{CLOCK})"
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of one request, each known to its operation."""

    values: Mapping[str, list[str]] = field(default_factory=dict)

    def get(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """One parameter, parsed. Raises MalformedParameter with the message of the parser's ValueError."""
        given = self.values.get(name)
        if given is None:
            return default
        try:
            return parse(given[0])
        except ValueError as error:
            raise MalformedParameter(name, str(error)) from None

    def single(self, name: str) -> str | None:
        """A parameter that may be repeated as a filter, and here only once. Raises MalformedParameter."""
        given = self.values.get(name, [])
        if len(given) > 1:
            raise MalformedParameter(name, "expected one value")
        return given[0] if given else None

    def bound(self, name: str, default: Bound) -> Bound:
        return self.get(name, parse_bound, default)

    def optional_bound(self, name: str) -> Bound | None:
        return self.get(name, parse_bound, None) if name in self.values else None

    def number(self, name: str, *, default: float, least: float, most: float) -> float:
        """A number within its bounds. Raises MalformedParameter or LimitExceeded."""
        number = self.get(name, parse_number, default)
        if number < least:
            raise MalformedParameter(name, f"expected at least {least:g}")
        if number > most:
            raise LimitExceeded(
                f"{name}_max", int(most), field=FieldError(f"expected at most {most:g}", parameter=name)
            )
        return number

    def whole(self, name: str, *, default: int, least: int, most: int) -> int:
        number = self.number(name, default=default, least=least, most=most)
        if number != int(number):
            raise MalformedParameter(name, "expected a whole number")
        return int(number)

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        chosen = self.get(name, str, default)
        if chosen not in choices:
            raise MalformedParameter(name, f"expected one of {', '.join(choices)}")
        return chosen

    def query(self, limits: Limits) -> Query:
        """Filters as a query. Repeated aggregate_id or meta is AND, every other repeated filter is OR."""
        single = {name: self.values[name] for name in REPEATABLE if name in self.values}
        if "query" in self.values:
            if single:
                detail = "`query` cannot be combined with " + ", ".join(sorted(single))
                raise InvalidRequest([FieldError(detail, parameter="query")])
            return self._blaming("query", lambda: query_from(QUERY.decode(self.values["query"][0].encode())[0], limits))
        if not single:
            return EVERYTHING
        body = QueryItemBody(
            namespaces=single.get("namespace", []),
            types=single.get("type", []),
            aggregate_ids=single.get("aggregate_id", []),
            any_aggregate_id=single.get("any_aggregate_id"),
            meta=self.get_meta(),
        )
        return self._blaming(None, lambda: Query((item_from(body, ""),)))

    def get_meta(self) -> dict[str, str | list[str]]:
        pairs: dict[str, list[str]] = {}
        for text in self.values.get("meta", ()):
            key, colon, value = text.partition(":")
            if not (key and colon):
                raise MalformedParameter("meta", f"expected key:value{meant_pair(text)}")
            pairs.setdefault(key, []).append(value)
        return dict(pairs)

    def _blaming(self, parameter: str | None, make: Callable[[], Query]) -> Query:
        """Make a query; errors name the parameter that carried the field."""
        try:
            return make()
        except MalformedJson as error:
            raise MalformedParameter(parameter or "query", error.detail) from None
        except UnicodeEncodeError:
            raise MalformedParameter(parameter or "query", "expected UTF-8") from None
        except FactwireError as error:
            fields = [blame(field, parameter) for field in error.members["errors"]]
            if isinstance(error, LimitExceeded):
                raise LimitExceeded(error.members["limit"], error.members["maximum"], field=fields[0]) from None
            raise InvalidRequest(fields) from None


def blame(field: FieldError, parameter: str | None) -> FieldError:
    if parameter is not None:
        return FieldError(field.detail, pointer=field.pointer, parameter=parameter)
    part = (field.pointer or "").split("/")[1]
    return FieldError(field.detail, parameter=next(name for name, each in PART_OF.items() if each == part))


NO_PARAMETERS = Parameters()


def parameters_of(request: Request, *known: str) -> Parameters:
    """Parameters of a request. Raises UnknownParameter, and MalformedParameter if a single value is given twice."""
    if not request.scope["query_string"]:
        return NO_PARAMETERS
    check_encoding(request.scope["query_string"])
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise UnknownParameter(name, known)
        if name in values and name not in REPEATABLE:
            raise MalformedParameter(name, "expected one value")
        values.setdefault(name, []).append(value)
    return Parameters(values)


def meant_pair(text: str) -> str:
    """The pair that was probably meant, if it has another separator."""
    key, equals, value = text.partition("=")
    return f": did you mean {key}:{value}?" if key and equals and len(text) <= NAME_LENGTH_MAX else ""


def check_encoding(query_string: bytes) -> None:
    """Raises MalformedParameter if a value is not UTF-8: the framework would read a replacement character."""
    if b"%" in query_string or not query_string.isascii():
        for part in query_string.split(b"&"):
            name, _, value = part.partition(b"=")
            try:
                unquote_to_bytes(value).decode()
            except UnicodeDecodeError:
                raise MalformedParameter(unquote(name.decode(errors="replace")), "expected UTF-8") from None


def parse_number(text: str) -> float:
    if not text.removeprefix("-").replace(".", "", 1).isdecimal() or not text.isascii() or len(text) > 20:
        raise ValueError("expected a number")
    return float(text)


def parse_meta_key(text: str) -> str:
    """Parse a key of meta. Raises ValueError."""
    if len(text) > NAME_LENGTH_MAX or META_KEY.fullmatch(text) is None:
        raise ValueError(f"expected a meta key: a name without ':', of at most {NAME_LENGTH_MAX} characters")
    return text


def parse_part_of_name(text: str) -> str:
    if NUL in text:
        raise ValueError("expected a part of a name")
    return text


def parse_time(text: str) -> datetime:
    """Parse a date-time of RFC 3339, section 5.6, to UTC; digits after microseconds are cut. Raises ValueError."""
    found = DATE_TIME.fullmatch(text)
    if found is None:
        lost_plus = DATE_TIME.fullmatch(text.replace(" ", "+", 1)) is not None
        hint = ": write %2B for the + in a URL" if lost_plus else ""
        raise ValueError(f"expected a time such as 2026-01-31T12:00:00Z{hint}")
    date, minute, second, fraction, offset = found.groups(default="")
    if second == "60":  # datetime has no leap second: use the end of the minute
        second, fraction = "59", "999999"
    try:
        time = datetime.fromisoformat(f"{date}T{minute}:{second}.{fraction[:6]:0<6}{offset.upper()}")
    except ValueError:
        raise ValueError("expected a time such as 2026-01-31T12:00:00Z") from None
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time between the years 1 and 9999") from None
