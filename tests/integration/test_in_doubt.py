"""What may be lost is never acknowledged, however often it is repeated; what is certain is never called in doubt."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from factwire.domain.errors import FactwireError, OutcomeUnknown
from factwire.domain.fact import NewFact
from factwire.domain.principal import ANYBODY
from factwire.follow.erasure import Eraser
from factwire.publish.batch import Outcome, Published
from factwire.publish.publisher import Publisher
from factwire.store.append import is_certainly_not_written
from factwire.store.connection import Connection
from factwire.store.encryption.keys import KEY_BYTES, MasterKeys
from factwire.store.pools import Pools
from factwire.store.schema.migrate import migrate
from tests.integration.logs import MIB, connected, fact, new_tail, opened_database, running, waiting_for_a_lock
from tests.integration.store import a_fact
from tests.support.postgres import ThrowawayPostgres
from tests.support.waiting import until

MASTER_KEYS = MasterKeys([bytes(KEY_BYTES)])
WAITING_FOR_THE_STANDBY = "select pid from pg_stat_activity where wait_event = 'SyncRep'"
SYNCHRONOUS = "select (current_setting('synchronous_standby_names') <> '') = $1"
DEAF = """
create role deaf superuser login;
alter role deaf set client_min_messages = 'error'
"""
WARN = """
create function public.warn() returns trigger language plpgsql as $$
begin
  raise warning 'somebody else';
  return null;
end $$;
create trigger warn after insert on factwire.facts for each statement execute function public.warn()
"""
WARN_NO_MORE = "drop trigger warn on factwire.facts; drop function public.warn"


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowawayPostgres]:
    """A server of the module's own: whether its commits wait for a standby is a setting of all its databases."""
    made = ThrowawayPostgres(Path(mkdtemp(prefix="factwire-postgres-")) / "data")
    made.start()
    migrate(made.url)
    yield made
    made.remove()
    rmtree(made.directory.parent)


@pytest.fixture
async def operator(server: ThrowawayPostgres) -> AsyncIterator[Connection]:
    async with connected(server.url) as [connection]:
        await connection.execute("set synchronous_commit = off")
        yield connection


@asynccontextmanager
async def missing_standby(operator: Connection) -> AsyncIterator[None]:
    """While it runs, every commit waits for a standby that never comes."""
    await configure(operator, "alter system set synchronous_standby_names = 'nobody'", waits=True)
    try:
        yield
    finally:
        await configure(operator, "alter system reset synchronous_standby_names", waits=False)


async def configure(operator: Connection, statement: str, *, waits: bool) -> None:
    await operator.execute(statement)
    await operator.execute("select pg_reload_conf()")
    await until(lambda: operator.fetchval(SYNCHRONOUS, waits))


@asynccontextmanager
async def process(url: str, **changes: Any) -> AsyncIterator[tuple[Pools, Publisher, Eraser]]:
    async with opened_database(url, **changes) as opened:
        database = replace(opened, master_keys=MASTER_KEYS)
        publisher = Publisher(
            database, wait_seconds=30.0, waiting_requests_max=100, waiting_bytes_max=MIB, condition_seconds=10.0
        )
        async with running(publisher.run()):
            await asyncio.sleep(0)  # sealing needs it to run
            yield database, publisher, Eraser(database, new_tail(database), on_erased=lambda: None)


async def cancelled(operator: Connection, work: Awaitable[object]) -> None:
    """It waits for the standby; as soon as that is cancelled, its outcome is unknown."""
    working = asyncio.ensure_future(work)
    await until(lambda: ended_or_waiting(operator, working))
    assert not working.done(), working
    await operator.fetch("select pg_cancel_backend($1)", await operator.fetchval(WAITING_FOR_THE_STANDBY))
    with pytest.raises(OutcomeUnknown):
        await working


async def raised(outcomes: Awaitable[Sequence[Outcome]]) -> None:
    """Raise what the first line was refused with."""
    (first, *_) = await outcomes
    if isinstance(first, FactwireError):
        raise first


async def ended_or_waiting(operator: Connection, working: "asyncio.Future[Any]") -> bool:
    return working.done() or await operator.fetchval(WAITING_FOR_THE_STANDBY) is not None


def url_of(server: ThrowawayPostgres, role: str) -> str:
    return server.url.replace("//postgres:", f"//{role}:")


@pytest.fixture
async def url(server: ThrowawayPostgres, operator: Connection, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The log, for a role as it usually is or for one that hears no warnings."""
    if request.param == "deaf":
        await operator.execute(DEAF)
    yield url_of(server, "deaf" if request.param == "deaf" else "postgres")
    if request.param == "deaf":
        await operator.execute("drop role deaf")


ROLES = pytest.mark.parametrize("url", ["usual", "deaf"], indirect=True)


@ROLES
async def test_a_publish_is_in_doubt_as_often_as_its_wait_is_cancelled(url: str, operator: Connection) -> None:
    new, sealed = fact(), a_fact(data_subject=f"customer-{uuid4()}")
    async with process(url) as (_, publisher, _):
        async with missing_standby(operator):
            for each in (new, new, sealed, sealed):
                await cancelled(operator, publisher.publish([each]))
        assert (await publisher.publish([new])).replayed
        assert (await publisher.publish([sealed])).replayed


@ROLES
async def test_lines_of_an_import_are_in_doubt_as_often_as_their_wait_is_cancelled(
    url: str, operator: Connection
) -> None:
    lines = [fact(), fact()]
    async with process(url) as (_, publisher, _):
        async with missing_standby(operator):
            for _ in range(2):
                outcomes = asyncio.ensure_future(publisher.publish_in_order(lines))
                await cancelled(operator, raised(outcomes))
        again = await publisher.publish_in_order(lines)
        assert [each.replayed for each in again if isinstance(each, Published)] == [True, True]


@ROLES
async def test_an_erasure_is_in_doubt_as_often_as_its_wait_is_cancelled(url: str, operator: Connection) -> None:
    async with process(url) as (_, publisher, erasing):
        subject = f"customer-{uuid4()}"
        await publisher.publish([a_fact(data_subject=subject)])
        async with missing_standby(operator):
            for _ in range(3):
                await cancelled(operator, erasing.erase_data_subject(subject, by=ANYBODY))
        assert (await erasing.erase_data_subject(subject, by=ANYBODY)).known


@ROLES
async def test_a_redaction_is_in_doubt_as_often_as_its_wait_is_cancelled(url: str, operator: Connection) -> None:
    new = fact()
    async with process(url) as (_, publisher, erasing):
        await publisher.publish([new])
        async with missing_standby(operator):
            for _ in range(3):
                await cancelled(operator, erasing.redact_fact(new.id, reason="by mistake", by=ANYBODY))
        assert (await erasing.redact_fact(new.id, reason="by mistake", by=ANYBODY)).known


async def test_the_warning_of_somebody_else_calls_nothing_in_doubt(
    server: ThrowawayPostgres, operator: Connection
) -> None:
    new, subject = fact(), a_fact(data_subject="warned")
    await operator.execute(WARN)
    try:
        async with process(server.url) as (_, publisher, erasing):
            assert not (await publisher.publish([new])).replayed
            assert (await publisher.publish([new])).replayed
            assert not (await publisher.publish([subject])).replayed
            assert not (await erasing.erase_data_subject("warned", by=ANYBODY)).known
            # Beside the warning that counts, it is not taken for that one either.
            async with missing_standby(operator):
                await cancelled(operator, publisher.publish([fact()]))
    finally:
        await operator.execute(WARN_NO_MORE)


async def test_a_session_that_is_ended_leaves_its_publish_in_doubt(
    server: ThrowawayPostgres, operator: Connection
) -> None:
    new = fact()
    async with process(server.url) as (_, publisher, _), connected(server.url) as [locking]:
        async with locking.transaction():
            await locking.execute("select factwire.lock_log()")
            publishing = asyncio.create_task(publisher.publish([new]))
            await until(lambda: waiting_for_a_lock(operator))
            await operator.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'factwire append'"
            )
            with pytest.raises(OutcomeUnknown) as doubt:
                await publishing
            assert doubt.value.members["ids"] == [new.id]
        async with missing_standby(operator):
            publishing = asyncio.create_task(publisher.publish([new]))
            await until(lambda: ended_or_waiting(operator, publishing))
            await operator.execute("select pg_terminate_backend($1)", await operator.fetchval(WAITING_FOR_THE_STANDBY))
            with pytest.raises(OutcomeUnknown):
                await publishing
        assert (await publisher.publish([new])).replayed


def server_error(code: str, severity: str = "ERROR") -> asyncpg.PostgresError:
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(
        {"S": "ФАТАЛЬНАЯ" if severity == "FATAL" else "ОШИБКА", "V": severity, "C": code, "M": "in another language"}
    )
    return error


@pytest.mark.parametrize(
    ("error", "certain"),
    [
        (server_error("23514"), True),
        (server_error("57014"), True),
        (server_error("55P03"), True),
        (server_error("40P01"), True),
        (server_error("40001"), True),
        (server_error("53100"), True),
        (server_error("XX000"), True),
        (server_error("40003"), False),
        (server_error("57P01", "FATAL"), False),
        (server_error("57P01"), False),
        (server_error("08006"), False),
        (server_error("25P03", "FATAL"), False),
        (server_error("25P04", "FATAL"), False),
        (server_error("XX000", "PANIC"), False),
        (server_error("53300", "FATAL"), False),
        (server_error("42501", "FATAL"), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
        (asyncpg.InterfaceError(""), False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else getattr(value, "sqlstate", "") or type(value).__name__,
)
def test_only_an_error_that_leaves_the_session_alone_says_for_certain_that_nothing_is_written(
    error: Exception, certain: bool
) -> None:
    assert is_certainly_not_written(error) is certain


LOCK_REDACTIONS = "lock table factwire.redactions in access exclusive mode"


async def publish_twice(publisher: Publisher, facts: list[NewFact], between: Callable[[], Awaitable[None]]) -> None:
    await publisher.publish(facts)
    await between()
    with pytest.raises(FactwireError) as refusal:
        await publisher.publish(facts)
    assert type(refusal.value) is OutcomeUnknown
    assert refusal.value.members["ids"] == [each.id for each in facts]


async def test_a_repeated_publish_whose_facts_cannot_be_looked_at_is_in_doubt(database_url: str) -> None:
    facts = [fact(), fact()]
    async with process(database_url, read_seconds=0.3) as (_, publisher, _), connected(database_url) as [locking]:
        locked = locking.transaction()

        async def lock() -> None:
            await locked.start()
            await locking.execute(LOCK_REDACTIONS)

        await publish_twice(publisher, facts, lock)
        await locked.rollback()
        assert (await publisher.publish(facts)).replayed


async def test_a_repeated_publish_while_all_reads_are_taken_is_not_said_to_be_unwritten(database_url: str) -> None:
    facts = [fact()]
    async with process(database_url, read_connections_max=1) as (database, publisher, _), AsyncExitStack() as taken:

        async def take_all_reads() -> None:
            await taken.enter_async_context(database.reads.connection())

        await publish_twice(publisher, facts, take_all_reads)
        await taken.aclose()
        assert (await publisher.publish(facts)).replayed
