"""Erasure: destroys the key of a data subject, or redacts the payload of a fact. Each is recorded by a fact."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from uuid_utils import uuid7

from factwire.domain.audit import audit_fact
from factwire.domain.errors import DataSubjectNotFound, FactNotFound, FactReserved
from factwire.domain.fact import CONTENT_AT, RESERVED_NAMESPACE, NewFact, split_document, utc
from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet
from factwire.domain.position import START, Position
from factwire.domain.query import Query, new_item
from factwire.store.connection import Connection
from factwire.store.read import Form, PageBounds, read_page

ERASE_DATA_SUBJECT = """
select outcome, erased_at, erasures
  from factwire.erase_data_subject($1, $2, $3, $4, $5, $6, $7)
"""

REDACT_FACT = """
select outcome, position, reason, redacted_at, erasures
  from factwire.redact_fact($1, $2, $3, $4, $5, $6, $7)
"""

STORED_DOCUMENT = """
select f.position, f.namespace,
       substr(
         factwire.fact_json(f.position, f.published_at, f.id, f.namespace, f.type, f.version, f.document),
         length(f.position::text) + 59) as document
  from factwire.fact_ids k
  join factwire.facts f on f.position = k.position
 where k.id = $1
"""

DATA_SUBJECT_ERASED = "DataSubjectErased"
FACT_REDACTED = "FactRedacted"
REDACTED_PAYLOAD = b'null,"redacted":true}'


ERASURES = Query((new_item(namespaces=[RESERVED_NAMESPACE], types=[DATA_SUBJECT_ERASED, FACT_REDACTED]),))


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erased data subject or redacted fact, and the time at which that was done.

    `known` is true if it had been done before; `count` is the number of all erasures and redactions in the log.
    """

    kind: Literal["data_subject", "fact"]
    id: str
    at: str
    reason: str = ""
    position: Position | None = None
    known: bool = False
    count: int = 0


async def erase_data_subject(
    connection: Connection, data_subject: str, *, by: str, unknown_too: bool = False
) -> Erasure:
    """Destroy the key of a data subject. Raises DataSubjectNotFound if it is unknown, unless `unknown_too`."""
    audit = audit_fact(
        DATA_SUBJECT_ERASED, id=str(uuid7()), by=by, about=data_subject, payload={"data_subject": data_subject}
    )
    row = await connection.fetchrow(ERASE_DATA_SUBJECT, data_subject, unknown_too, *audit_arguments(audit))
    assert row is not None
    if row["outcome"] == "unknown":
        raise DataSubjectNotFound(f"There is no data subject {data_subject}.")
    return Erasure(
        "data_subject",
        data_subject,
        utc(row["erased_at"]),
        known=row["outcome"] == "known",
        count=row["erasures"],
    )


async def redact_fact(
    connection: Connection, id: str, *, reason: str, by: str, within: NamespaceSet = EVERY_NAMESPACE
) -> Erasure:
    """Remove the payload of a stored fact. Raises FactNotFound, also if it is not in `within`, or FactReserved."""
    stored = await connection.fetchrow(STORED_DOCUMENT, id)
    if stored is None or stored["namespace"] not in within:
        raise FactNotFound(f"There is no fact with the id {id}.")
    # The digest of the remaining fact is recorded as well, so that a later change of it can be detected.
    left = (split_document(stored["document"])[0] + REDACTED_PAYLOAD)[CONTENT_AT:-1]
    payload = {
        "id": id,
        "position": stored["position"],
        "reason": reason,
        "digest": sha256(left).hexdigest(),
    }
    audit = audit_fact(FACT_REDACTED, id=str(uuid7()), by=by, about=id, payload=payload)
    row = await connection.fetchrow(REDACT_FACT, id, reason, *audit_arguments(audit))
    assert row is not None
    if row["outcome"] == "unknown":
        raise FactNotFound(f"There is no fact with the id {id}.")
    if row["outcome"] == "reserved":
        raise FactReserved("Facts of the namespace factwire are never redacted.")
    return Erasure(
        "fact",
        id,
        utc(row["redacted_at"]),
        reason=row["reason"],
        position=row["position"],
        known=row["outcome"] == "known",
        count=row["erasures"],
    )


async def read_erasures(connection: Connection) -> AsyncIterator[bytes]:
    """Facts that record all erasures and redactions, one JSON object each, in order."""
    after = START
    while True:
        page = await read_page(connection, ERASURES, after=after, form=Form.LINES, bounds=PageBounds())
        for line in page.body.split(b"\n")[:-1]:
            yield line
        after = page.through
        if after >= page.head:
            return


def audit_arguments(fact: NewFact) -> tuple[str, str, bytes, bytes, list[str]]:
    """Arguments of append_audit for a fact of the reserved namespace."""
    return fact.id, fact.type, fact.digest, fact.document, list(fact.tags)
