"""What is sent and what comes back: facts, queries, conditions, and payloads as classes of the application."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import uuid
from dataclasses import dataclass
from typing import Any, List, Mapping, Sequence, Union

from . import models
from .answers import decoded
from .errors import PayloadInvalid

LISTS = ("namespaces", "types", "aggregate_ids", "any_aggregate_id")


@dataclass(frozen=True)
class NewFact(models.NewFactBody):
    """A fact to publish. Without an `id` it gets a UUIDv7 before the first attempt."""

    def __post_init__(self) -> None:
        check_list("aggregate_ids", self.aggregate_ids)
        object.__setattr__(self, "id", str(self.id or uuid7()))


@dataclass(frozen=True)
class Query(models.ConditionItemBody):
    """A fact matches if every part that is given matches. A list of queries matches what any of them matches.

    `after` is for conditions only: the bound of this item.
    """

    def __post_init__(self) -> None:
        for name in LISTS:
            check_list(name, getattr(self, name))


AnyQuery = Union[Query, Mapping[str, Any], Sequence[Union[Query, Mapping[str, Any]]]]


@dataclass(frozen=True)
class Fact(models.Fact):
    """A published fact, with the cursor to go on after it."""

    cursor: str = ""

    def derived_id(self, name: str) -> str:
        """An id for a fact that follows from this one: the same whenever it is asked for, so that retries are known."""
        return str(uuid.uuid5(uuid.UUID(self.id), name))


@dataclass(frozen=True)
class Page(models.Page):
    """A page of facts. `head_cursor` is the bound for a condition over what was read."""

    facts: List[Fact]  # type: ignore[assignment]


@dataclass(frozen=True)
class Published(models.PublishResult):
    """The outcome of a publish. `replayed` is true if the facts were in the log already: an earlier attempt arrived."""

    replayed: bool = False


class Json(str):
    """A payload that is JSON text already, kept as it is, to the byte. Raises ValueError for other text."""

    def __new__(cls, text: str) -> Json:
        decoded(text)
        return super().__new__(cls, text)


def check_list(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: expected a list, such as [{value!r}]")


def uuid7() -> uuid.UUID:
    """UUIDv7 of RFC 9562: 48 bits of the time in milliseconds, then random bits."""
    bits = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return uuid.UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def items_of(query: AnyQuery | None) -> list[dict[str, Any]]:
    """The items of a query, as they are sent. Raises ValueError for a list without any."""
    if query is None:
        return []
    several = [query] if isinstance(query, (models.ConditionItemBody, Mapping)) else query
    check_list("query", several)
    if not several:
        raise ValueError("a list of queries without any would match every fact: leave it out, or give None")
    return [present(each) for each in several]


def present(item: Any) -> dict[str, Any]:
    """Members of a model that are set."""
    members = dict(item) if isinstance(item, Mapping) else vars(item)
    return {name: value for name, value in members.items() if value is not None}


def body_of(
    facts: Sequence[NewFact], condition: Mapping[str, Any], acknowledge: Mapping[str, Any] | None = None
) -> bytes:
    """Body of a publish. Raises ValueError or TypeError if a payload is not JSON."""
    parts = [f'{{"facts":[{",".join(map(text_of, facts))}]']
    if condition:
        parts.append(f',"condition":{encode(condition)}')
    if acknowledge:
        parts.append(f',"acknowledge":{encode(acknowledge)}')
    return "".join([*parts, "}"]).encode()


def text_of(fact: NewFact) -> str:
    members = {name: value for name, value in present(fact).items() if name != "payload"}
    payload = fact.payload if isinstance(fact.payload, Json) else encode(plain(fact.payload))
    return f'{encode(members)[:-1]},"payload":{payload}}}'


def encode(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=checked)


def plain(value: Any) -> Any:
    """A model of pydantic, msgspec or dataclasses as plain JSON values; anything else as it is."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__struct_fields__"):
        import msgspec

        return msgspec.to_builtins(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def checked(value: Any) -> Any:
    """A model inside of other JSON. Raises TypeError for what is not JSON."""
    made = plain(value)
    if made is value:
        kind = type(value).__name__
        raise TypeError(f"a {kind} is not JSON: publish a text, such as str(value) or value.isoformat(), or a list")
    return made


class PayloadTypes:
    """Classes of payloads, by `namespace/type`: of pydantic, msgspec or dataclasses, or any function of the payload."""

    def __init__(self, types: Mapping[str, Any] | None = None) -> None:
        self._types = dict(types or {})

    def fact(self, members: Mapping[str, Any], epoch: str) -> Fact:
        """A fact from its JSON. Raises PayloadInvalid. The payload of an erased or redacted fact stays None."""
        known = {name: members[name] for name in FACT_MEMBERS if name in members}
        cursor = f"{epoch}:{members['position']}" if epoch else str(members["position"])
        fact = Fact(**{"payload": None, "aggregate_ids": [], "meta": {}, **known}, cursor=cursor)
        kind = self._types.get(f"{fact.namespace}/{fact.type}")
        if kind is None or fact.payload is None:
            return fact
        try:
            return dataclasses.replace(fact, payload=converted(kind, fact.payload))
        except Exception as error:
            raise PayloadInvalid(fact, error) from error

    def page(self, members: Mapping[str, Any]) -> Page:
        epoch = members["cursor"].partition(":")[0]
        known = {name: value for name, value in members.items() if name in PAGE_MEMBERS}
        return Page(**{**known, "facts": [self.fact(each, epoch) for each in members["facts"]]})


FACT_MEMBERS = tuple(each.name for each in dataclasses.fields(models.Fact))
PAGE_MEMBERS = frozenset(each.name for each in dataclasses.fields(models.Page))


def converted(kind: Any, payload: Any) -> Any:
    if hasattr(kind, "model_validate"):
        return kind.model_validate(payload)
    if hasattr(kind, "__struct_fields__"):
        import msgspec

        return msgspec.convert(payload, kind)
    is_dataclass = dataclasses.is_dataclass(kind)
    return kind(**payload) if is_dataclass else kind(payload)


def published_of(members: Mapping[str, Any], *, replayed: bool) -> Published:
    facts = [models.PublishedFact(id=each["id"], position=each["position"]) for each in members["facts"]]
    return Published(
        facts=facts,
        position=members["position"],
        cursor=members["cursor"],
        published_at=members["published_at"],
        acknowledged=members.get("acknowledged"),
        replayed=replayed,
    )


def condition_of(fail_if_match: AnyQuery | None, fail_unless_match: AnyQuery | None, after: Any) -> dict[str, Any]:
    """The condition of a publish, empty without one."""
    if after is not None and fail_if_match is None:
        raise TypeError("after is the bound of fail_if_match: give that as well")
    given = {"fail_if_match": items_of(fail_if_match), "fail_unless_match": items_of(fail_unless_match)}
    condition: dict[str, Any] = {name: items for name, items in given.items() if items}
    return condition if after is None else {**condition, "after": after}
