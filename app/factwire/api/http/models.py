"""Wire format, declared once: the structs of requests and responses."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

MetaValues = dict[str, str | list[str]]
Texts = list[str] | UnsetType | None
ItemAfter = int | str | UnsetType | None


class NewFactBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A fact to publish."""

    namespace: Annotated[str, Meta(description="The owner of the type.", examples=["shop"])]
    type: Annotated[str, Meta(description="The kind of fact.", examples=["OrderPlaced"])]
    payload: Annotated[msgspec.Raw, Meta(description="Any JSON; it comes back as it was sent.")]
    id: Annotated[
        str | UnsetType | None,
        Meta(
            description="A UUID with hyphens, which makes retries safe (default: a new UUIDv7).",
            extra_json_schema={"format": "uuid"},
        ),
    ] = UNSET
    version: Annotated[
        int | UnsetType | None,
        Meta(description="The version of the payload's schema (default: 1)."),
    ] = UNSET
    aggregate_ids: Annotated[
        list[str] | UnsetType | None,
        Meta(description="The entities that the fact is about: a set."),
    ] = UNSET
    meta: Annotated[
        MetaValues | UnsetType | None,
        Meta(description="Small attributes to match on."),
    ] = UNSET
    data_subject: Annotated[
        str | UnsetType | None,
        Meta(description="The data subject whose key encrypts the payload. It must not identify the person."),
    ] = UNSET


class NewFactLine(NewFactBody, forbid_unknown_fields=True, kw_only=True):
    """A fact to import. A line of an export can be sent as it is; its position in that log is ignored."""

    position: int | UnsetType | None = UNSET
    published_at: str | UnsetType | None = UNSET
    redacted: Annotated[bool | UnsetType | None, Meta(description="Its payload was taken out: it is skipped.")] = UNSET
    erased: Annotated[bool | UnsetType | None, Meta(description="Its payload was erased: it is skipped.")] = UNSET
    unreadable: Annotated[bool | UnsetType | None, Meta(description="Its payload was damaged: it is skipped.")] = UNSET


class QueryItemBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One item of a query: a fact must match all parts that are given."""

    namespaces: Annotated[Texts, Meta(description="The namespace is one of these.")] = UNSET
    types: Annotated[Texts, Meta(description="The type is one of these.")] = UNSET
    aggregate_ids: Annotated[Texts, Meta(description="The fact has all of these.")] = UNSET
    any_aggregate_id: Annotated[Texts, Meta(description="The fact has at least one of these.")] = UNSET
    meta: Annotated[MetaValues | UnsetType | None, Meta(description="The fact has all of these pairs.")] = UNSET


class ConditionItemBody(QueryItemBody, forbid_unknown_fields=True, kw_only=True):
    """One item of a condition: an item of a query, with a bound of its own. A list in it is not empty."""

    after: Annotated[
        ItemAfter,
        Meta(
            description="A cursor, a position, the id of a fact, or `start`, exclusive (default: the condition's "
            "`after` in `fail_if_match`, `start` in `fail_unless_match`)."
        ),
    ] = UNSET


class QueryBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Query for facts: a fact matches if it matches any item. Without items, every fact matches."""

    items: list[QueryItemBody] | UnsetType | None = UNSET


class ConditionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Condition of a publish: no fact matches an item of one list, and each item of the other has a fact."""

    fail_if_match: Annotated[
        list[ConditionItemBody] | UnsetType | None,
        Meta(description="No fact after its bound matches any of these items."),
    ] = UNSET
    fail_unless_match: Annotated[
        list[ConditionItemBody] | UnsetType | None,
        Meta(description="For each of these items at least one fact after its bound matches."),
    ] = UNSET
    after: Annotated[
        ItemAfter,
        Meta(
            description="The bound of the items of `fail_if_match` that have none: a cursor, a position, the id of a "
            "fact, or `start`, exclusive (default: `start`, the whole log)."
        ),
    ] = UNSET


class AcknowledgeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Facts that a worker has claimed, to be acknowledged with the publish."""

    subscription: Annotated[str, Meta(description="The name of the subscription.", examples=["billing"])]
    leases: Annotated[list[str], Meta(description="As the claim returned them.")]


class PublishBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Facts to publish together, at consecutive positions, or not at all."""

    facts: list[NewFactBody]
    condition: ConditionBody | UnsetType | None = UNSET
    acknowledge: AcknowledgeBody | UnsetType | None = UNSET


class PublishedFact(msgspec.Struct):
    """Position of a published fact."""

    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    position: int


class PublishResult(msgspec.Struct):
    """Positions of the facts that a request published."""

    facts: list[PublishedFact]
    position: Annotated[int, Meta(description="The position of the last of them.")]
    cursor: Annotated[str, Meta(description="The cursor after them.")]
    published_at: Annotated[str | None, Meta(description="RFC 3339, UTC; null if the facts were archived.")]
    acknowledged: Annotated[
        int | UnsetType, Meta(description="With `acknowledge`: the number of facts that are acknowledged.")
    ] = UNSET


class Fact(msgspec.Struct, kw_only=True):
    """A published fact."""

    position: int
    published_at: str
    id: UUID
    namespace: str
    type: str
    version: int
    data_subject: Annotated[str | UnsetType, Meta(description="The data subject, whose key encrypts the payload.")] = (
        UNSET
    )
    aggregate_ids: list[str]
    meta: MetaValues
    payload: Any
    redacted: Annotated[bool | UnsetType, Meta(description="The payload was taken out.")] = UNSET
    erased: Annotated[bool | UnsetType, Meta(description="The key was destroyed, and with it the payload.")] = UNSET
    unreadable: Annotated[bool | UnsetType, Meta(description="The stored fact is damaged: its columns are left.")] = (
        UNSET
    )


class Page(msgspec.Struct):
    """One page of history."""

    facts: list[Fact]
    position: Annotated[int, Meta(description="How far the page came, matches or not.")]
    cursor: Annotated[str, Meta(description="The cursor to continue after.")]
    head: Annotated[int, Meta(description="The position of the newest fact.")]
    head_cursor: Annotated[
        str | None,
        Meta(
            description="The cursor of the head that the page was read at, for the `after` of a condition. "
            "Null unless the page is caught up (ascending), or the first (descending)."
        ),
    ]
    caught_up: Annotated[bool, Meta(description="True if the end of the requested range is reached.")]
    until: Annotated[str | UnsetType, Meta(description="Descending: the next page's `until`.")] = UNSET


class LogPosition(msgspec.Struct):
    """A position of the log."""

    position: int
    cursor: str
    head: int
    published_at: str | None


class ErasedDataSubject(msgspec.Struct):
    """An erased data subject: its key was destroyed."""

    data_subject: str
    erased_at: str


class RedactionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Reason for the removal of a payload."""

    reason: Annotated[
        str, Meta(description="Stored permanently, and sent to followers.", examples=["published by mistake"])
    ]


class Redaction(msgspec.Struct):
    """A redacted fact: its payload was removed."""

    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    position: int
    reason: str
    redacted_at: str


class Skipped(msgspec.Struct):
    """Number of skipped lines of an export, by reason; `reserved` are facts about the other log itself."""

    redacted: int = 0
    erased: int = 0
    unreadable: int = 0
    reserved: int = 0


class ImportCounts(msgspec.Struct):
    """Progress of an import."""

    lines: int = 0
    published: int = 0
    replayed: int = 0
    position: int = 0
    cursor: str = "start"
    skipped: Annotated[Skipped | UnsetType, Meta(description="Omitted if no line was skipped.")] = UNSET


class ProblemField(msgspec.Struct):
    """An error in one field."""

    detail: str
    pointer: Annotated[str | UnsetType, Meta(description="A JSON pointer into the body.")] = UNSET
    parameter: Annotated[str | UnsetType, Meta(description="The name of a parameter.")] = UNSET


class Problem(msgspec.Struct, kw_only=True):
    """A problem (RFC 9457). The members after the first four depend on the type; docs/problems.md lists them."""

    type: str
    title: str
    status: int
    detail: str
    help: Annotated[str, Meta(description="A path of this service with an explanation for people.")]
    errors: list[ProblemField] | UnsetType = UNSET
    id: Annotated[str | UnsetType | None, Meta(extra_json_schema={"nullable": True})] = UNSET
    ids: list[str] | UnsetType = UNSET
    position: Annotated[int | UnsetType | None, Meta(extra_json_schema={"nullable": True})] = UNSET
    item: Annotated[str | UnsetType, Meta(description="Of a condition: a JSON pointer to the item that failed.")] = (
        UNSET
    )
    head_cursor: Annotated[str | UnsetType, Meta(description="The cursor of the head at which it failed.")] = UNSET
    epoch: int | UnsetType = UNSET
    head: int | UnsetType = UNSET
    floor: int | UnsetType = UNSET
    forked_after: int | UnsetType = UNSET
    limit: str | UnsetType = UNSET
    maximum: int | UnsetType = UNSET
    expected: str | UnsetType = UNSET
    data_subject: str | UnsetType = UNSET
    leases: Annotated[list[str] | UnsetType, Meta(description="Of a subscription: those that are meant.")] = UNSET
    acknowledged: Annotated[int | UnsetType, Meta(description="Facts that were acknowledged all the same.")] = UNSET
    returned: Annotated[int | UnsetType, Meta(description="Facts that were returned all the same.")] = UNSET
    ordering: str | UnsetType = UNSET
    retry_after_seconds: float | UnsetType = UNSET
    line: Annotated[int | UnsetType, Meta(description="Of an import: the line that failed, from 1.")] = UNSET
    progress: Annotated[ImportCounts | UnsetType, Meta(description="Of an import: the committed lines.")] = UNSET


class ImportLine(msgspec.Struct):
    """A line of the response to an import: `progress` from time to time, and `result` or `problem` as the last line."""

    progress: ImportCounts | UnsetType = UNSET
    result: ImportCounts | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET
