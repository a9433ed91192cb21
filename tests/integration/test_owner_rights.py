"""What runs with the owner's rights: whoever may not append destroys nothing, and nothing goes without a record."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
from asyncpg import PostgresError

from factwire.doctor.database_checks import list_rights
from factwire.doctor.finding import Finding
from factwire.domain.audit import audit_fact
from factwire.domain.fact import NewFact, build_fact
from factwire.domain.position import Position
from factwire.store.append import append
from factwire.store.connection import Connection
from factwire.store.encryption.keys import NO_KEYS
from factwire.store.erasure import erase_data_subject
from factwire.store.verification.chain import Flaw
from factwire.store.verification.verifier import Verifier
from tests.integration.store import a_fact, append_alone
from tests.support.postgres import run_sql

OWNERS_FUNCTIONS = """
select p.oid::regprocedure::text as function, has_function_privilege('public', p.oid, 'execute') as open, p.proargtypes
  from pg_proc p
 where p.pronamespace = 'factwire'::regnamespace and p.prosecdef
"""

CALLS = (
    "select factwire.destroy_data_key()",
    "select factwire.remove_payload()",
    "select factwire.create_partition(2000000000)",
    "select factwire.fold_counts(1000)",
    "select factwire.erase_data_subject('anybody', true, gen_random_uuid(), 'DataSubjectErased', sha256(''),"
    " '{}', '{}')",
    "select factwire.redact_fact((select id from factwire.facts limit 1), 'for fun', gen_random_uuid(), 'FactRedacted',"
    " sha256(''), '{}', '{}')",
)


@pytest.fixture
def reporting(fresh_database_url: str) -> Iterator[str]:
    """A role that may read everything."""
    role = f"reporting_{uuid4().hex[:8]}"
    run_sql(
        fresh_database_url,
        f"create role {role}; grant usage on schema factwire to {role};"
        f"grant select on all tables in schema factwire to {role}",
    )
    yield role
    run_sql(fresh_database_url, f"drop owned by {role}; drop role {role}")


@pytest.fixture
async def connection(fresh_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(fresh_database_url)
    yield connection
    await connection.close()


async def test_nobody_may_call_them_unless_it_was_granted_and_none_takes_a_text(connection: Connection) -> None:
    found = await connection.fetch(OWNERS_FUNCTIONS)
    assert len(found) >= 5
    assert [row["function"] for row in found if row["open"]] == []
    numbers = {20, 23}  # bigint and integer
    assert [row["function"] for row in found if not set(row["proargtypes"]) <= numbers] == []


@pytest.mark.parametrize("call", CALLS)
async def test_who_may_only_read_destroys_nothing(connection: Connection, reporting: str, call: str) -> None:
    await append_alone(connection, a_fact(aggregate_ids=["order-1"]))
    await connection.execute(f"set role {reporting}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(call)
    await connection.execute("reset role")
    assert await verified(connection, 1) == ([], 1)
    assert await connection.fetchval("select count(*) from factwire.data_subjects") == 0
    assert await connection.fetchval("select erasures from factwire.log") == 0


@pytest.mark.parametrize("function", ["destroy_data_key", "remove_payload"])
async def test_nothing_is_destroyed_without_a_record_of_the_same_transaction(
    connection: Connection, reporting: str, function: str
) -> None:
    await append_alone(connection, a_fact(aggregate_ids=["order-1"]))
    await erase_data_subject(connection, "somebody", by="key:a", unknown_too=True)
    await connection.execute(f"grant execute on all functions in schema factwire to {reporting}; set role {reporting}")
    with pytest.raises(PostgresError) as refused:
        await connection.execute(f"select factwire.{function}()")
    assert refused.value.sqlstate == "FW008"


SUBJECTS = (
    b'{"by":"a","data_subject":"harmless","data_subject":"victim"}',
    b'{"by":"a","data_subject":["victim"]}',
    b'{"by":"a","data_subject":12345}',
    b'{"by":"a"}',
    b'{"by":"a","data_subject":"harmless"},"payload":{"data_subject":"victim"}',
    b'"victim"',
)


@pytest.mark.parametrize("payload", SUBJECTS)
async def test_a_record_that_readers_may_understand_otherwise_erases_nobody(
    connection: Connection, payload: bytes
) -> None:
    record = build_fact(str(uuid4()), "factwire", "DataSubjectErased", 1, ["x"], {}, payload, chosen_id=False)
    with pytest.raises(PostgresError) as refused:
        await act_upon(connection, record, "destroy_data_key")
    assert refused.value.sqlstate == "FW008"
    assert await connection.fetchval("select count(*) from factwire.data_subjects") == 0


async def test_verify_goes_on_over_a_record_that_tells_nothing(connection: Connection) -> None:
    for type in ("DataSubjectErased", "FactRedacted"):
        await append_alone(connection, build_fact(str(uuid4()), "factwire", type, 1, ["x"], {}, b"{}", chosen_id=False))
    assert await verified(connection, 2) == ([], 1)


@pytest.mark.parametrize("told_of", [{"position": 1}, {"position": 2}, {"position": 1, "digest": "00"}])
async def test_a_record_that_is_not_true_redacts_nothing(connection: Connection, told_of: dict[str, object]) -> None:
    """Neither of another fact, nor of one of the reserved namespace, nor with another digest."""
    fact = a_fact(aggregate_ids=["order-1"])
    await append_alone(connection, fact)
    await erase_data_subject(connection, "somebody", by="key:a", unknown_too=True)
    stored = await connection.fetchval("select id from factwire.facts where position = 2")
    of_another = "digest" not in told_of and told_of["position"] == 1
    id = str(stored) if of_another or told_of["position"] == 2 else fact.id
    payload = {"id": id, "reason": "", "digest": "", **told_of}
    record = audit_fact("FactRedacted", id=str(uuid4()), by="key:a", about="x", payload=payload)
    with pytest.raises(PostgresError) as refused:
        await act_upon(connection, record, "remove_payload")
    assert refused.value.sqlstate in {"FW007", "FW008"}
    assert await verified(connection, 2) == ([], 1)


async def verified(connection: Connection, until: int) -> tuple[list[Flaw], Position | None]:
    verifier = Verifier(connection, NO_KEYS)
    found = verifier.run(after=Position(0), until=Position(until))
    return [each async for each in found if isinstance(each, Flaw)], verifier.chain.began_at


async def act_upon(connection: Connection, record: NewFact, function: str) -> None:
    async with connection.transaction(isolation="read_committed"):
        await append(connection, [([record], None)])
        await connection.execute(f"select factwire.{function}()")


async def test_doctor_names_a_function_that_was_opened_again(connection: Connection) -> None:
    assert [finding.verdict async for finding in list_rights(connection)] == ["ok", "ok"]
    await connection.execute("grant execute on function factwire.destroy_data_key() to public")
    found: list[Finding] = [finding async for finding in list_rights(connection)]
    assert [finding.verdict for finding in found] == ["ok", "wrong"]
    assert "revoke execute on function factwire.destroy_data_key() from public" in found[1].change
