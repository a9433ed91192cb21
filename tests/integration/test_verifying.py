"""`verify` finds whatever is changed behind the service's back, and nothing where nothing was."""

from collections.abc import AsyncIterator
from hashlib import sha256
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from factwire.domain.errors import FactReserved
from factwire.domain.fact import NewFact
from factwire.domain.position import START, Position
from factwire.store.append import Refusal, append
from factwire.store.connection import Connection
from factwire.store.encryption.keys import KEY_BYTES, MasterKeys
from factwire.store.encryption.payloads import read_keys, seal_payload
from factwire.store.erasure import erase_data_subject, redact_fact
from factwire.store.log import resolve
from factwire.store.master_key_rotation import rotate
from factwire.store.verification.chain import Flaw, read_hash_at
from factwire.store.verification.verifier import Verifier
from tests.integration.store import a_fact, append_alone

MASTER_KEYS = MasterKeys([bytes(KEY_BYTES)])
ADD_KEY = """
insert into factwire.data_subjects (id, key_id, wrapped_key, master_key) values ($1, gen_random_uuid(), $2, $3)
    on conflict do nothing
"""
BEHIND_THE_BACK = "set session_replication_role = replica"

SWAP = """
update factwire.facts set document = convert_to(replace(convert_from(document, 'UTF8'), {old}, {new}), 'UTF8')
 where position = {position}
"""


async def flaws_of(
    connection: Connection, *, after: int = 0, until: int | None = None, master_keys: MasterKeys = MASTER_KEYS
) -> list[Flaw]:
    head = (await resolve(connection, "head")).position
    verifier = Verifier(connection, master_keys)
    found = verifier.run(after=Position(after), until=head if until is None else Position(until))
    return [each async for each in found if isinstance(each, Flaw)]


async def sealed_fact(connection: Connection, data_subject: str, **changes: object) -> NewFact:
    new = MASTER_KEYS.new_key(data_subject)
    await connection.execute(ADD_KEY, data_subject, new.wrapped, new.master_key)
    stored = (await read_keys(connection, [data_subject]))[data_subject]
    assert stored.key is not None
    key = MASTER_KEYS.unwrap(data_subject, stored.key_id, stored.key)
    return seal_payload(a_fact(data_subject=data_subject, **changes), key)


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Connection]:
    """Eleven appends: facts with and without tags, alone and together, sealed, erased and redacted ones."""
    connection = await asyncpg.connect(database_url)
    for number in range(3):
        tagged = [a_fact(aggregate_ids=["order-1", f"order-{each}"], meta={"tenant": "a"}) for each in range(3)]
        await append_alone(connection, *tagged, a_fact(payload=b'{"number":%d}' % number))
    await append_alone(connection, await sealed_fact(connection, "kept", payload=b'{"kept":1}'))
    await append_alone(connection, await sealed_fact(connection, "erased", payload=b'{"name":"x"}'), a_fact())
    twice = a_fact(payload=b'"by mistake"', aggregate_ids=["order-9"]), await sealed_fact(connection, "kept")
    await append_alone(connection, *twice)
    await erase_data_subject(connection, "erased", by="test")
    for fact in twice:
        await redact_fact(connection, fact.id, reason="by mistake", by="test")
    known = a_fact()
    await append_alone(connection, known)
    # A call of which a request is refused.
    await append(connection, [([a_fact(type="First")], None), ([known], None), ([a_fact(type="Last")], None)])
    yield connection
    await connection.close()


async def test_nothing_is_found_where_nothing_was_changed(log: Connection) -> None:
    assert await flaws_of(log) == []
    assert await flaws_of(log, after=6, until=14) == []
    assert await flaws_of(log, master_keys=MasterKeys([])) == []


def replaced(position: int, old: str, new: str) -> str:
    return SWAP.format(position=position, old=f"'{old}'", new=f"'{new}'")


SWAPPED_ROWS = """
create temporary table swapped as select * from factwire.facts where position in (1, 6);
update factwire.facts f
   set id = s.id,
       document = convert_to((f.position - 1) || e'\\n\\ndata: {"position":' || f.position || ',"published_at":"'
         || to_char(f.published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '",', 'UTF8')
         || substr(s.document, position('"id":'::bytea in s.document))
  from swapped s
 where f.position in (1, 6) and s.position in (1, 6) and s.position <> f.position;
update factwire.fact_ids set position = 7 - position where position in (1, 6);
"""

LATER = """
update factwire.facts
   set published_at = published_at + interval '1 microsecond',
       document = convert_to((position - 1) || e'\\n\\ndata: {"position":' || position || ',"published_at":"'
         || to_char((published_at + interval '1 microsecond') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         || '",', 'UTF8') || substr(document, position('"id":'::bytea in document))
 where position = 4
"""

# Also in the digest: only the chain can tell.
REWRITTEN = """
with rewritten as (
  update factwire.facts
     set document = convert_to(replace(convert_from(document, 'UTF8'), '"number":0', '"number":9'), 'UTF8')
   where position = 4
  returning id, substr(document, position('"id":'::bytea in document) + 44) as content
)
update factwire.fact_ids k
   set digest = sha256(substr(r.content, 1, length(r.content) - 1))
  from rewritten r
 where k.id = r.id
"""

OTHER_ID = """
update factwire.facts
   set id = '00000000-0000-4000-8000-000000000001',
       document = convert_to(replace(convert_from(document, 'UTF8'), id::text, '00000000-0000-4000-8000-000000000001'),
                             'UTF8')
 where position = 4;
update factwire.fact_ids set id = '00000000-0000-4000-8000-000000000001' where position = 4
"""

REDACTED_UNSEEN = """
insert into factwire.redactions (position, fact_id, reason, redacted_at)
select position, id, 'none', now() from factwire.facts where position = 4;
update factwire.facts set document = factwire.redact_document(document) where position = 4
"""

ADDED_POSTING = "insert into factwire.fact_tags (tag, position) values (e'a:order-7\\x1dshop', 4)"
WIDENED_POSTING = (
    "update factwire.fact_tags set earlier = earlier || 3::smallint where tag = e'a:order-1\\x1dshop' and position = 7"
)
MOVED_SEAL = (
    "update factwire.sealed set seal = (select seal from factwire.sealed where position = 14) where position = 13"
)

CHANGES: dict[str, tuple[str, set[int | None]]] = {
    "payload": (replaced(4, '"number":0', '"number":9'), {4}),
    "payload-and-digest": (REWRITTEN, {4}),
    "meta": (replaced(1, '"tenant":"a"', '"tenant":"b"'), {1}),
    "type-in-the-document": (replaced(4, "OrderPlaced", "OrderPaid"), {4}),
    "type-in-the-column": ("update factwire.facts set type = 'OrderPaid' where position = 4", {4, None}),
    "deleted": ("delete from factwire.facts where position = 6", {6}),
    "deleted-whole": (
        "delete from factwire.fact_ids where position = 6; delete from factwire.facts where position = 6",
        {6},
    ),
    "deleted-append": ("delete from factwire.facts where position between 5 and 8", {5, 6, 7, 8}),
    "swapped": (SWAPPED_ROWS, {4, 6, 8}),
    "time": (LATER, {4}),
    "time-in-the-column": ("update factwire.facts set published_at = now() where position = 4", {4}),
    "id": (OTHER_ID, {4}),
    "id-not-kept": ("delete from factwire.fact_ids where position = 4", {4}),
    "id-kept-for-nothing": ("insert into factwire.fact_ids values (gen_random_uuid(), 4, '')", {4}),
    "posting-gone": ("delete from factwire.fact_tags where tag = e'a:order-1\\x1dshop' and position = 7", {5, 6, 7}),
    "posting-added": (ADDED_POSTING, {4}),
    "posting-widened": (WIDENED_POSTING, {4}),
    "kind-gone": ("delete from factwire.types where type = 'First'", {None}),
    "seal-changed": ("update factwire.sealed set seal = seal || 'x' where position = 13", {13}),
    "seal-moved": (MOVED_SEAL, {13}),
    "seal-gone": ("delete from factwire.sealed where position = 13", {13}),
    "erased-meta": (replaced(14, '"meta":{}', '"meta":{"a":"b"}'), {14}),
    "erased-untold": (
        "update factwire.data_subjects set wrapped_key = null, master_key = null, erased_at = now() where id = 'kept'",
        {13},
    ),
    "redacted-untold": (REDACTED_UNSEEN, {4}),
    "redacted-further": (replaced(16, "order-9", "order-8"), {16}),
    "redaction-taken-back": ("delete from factwire.redactions where position = 16", {16}),
    "audit": (replaced(18, '"by":"test"', '"by":"nobody"'), {18}),
    "chain-hash": ("update factwire.chain set hash = sha256('') where last_position = 8", {8, 12}),
    "chain-gone": ("delete from factwire.chain where last_position = 8", {5, 6, 7, 8, 12}),
    "chain-end-gone": ("delete from factwire.chain where last_position > 20", {21, 22, 23}),
    "tail-cut": ("delete from factwire.facts where position = 23", {23}),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_found_at_its_position(log: Connection, name: str) -> None:
    statement, positions = CHANGES[name]
    assert await flaws_of(log) == []
    await log.execute(BEHIND_THE_BACK)
    await log.execute(statement)
    found = await flaws_of(log)
    assert positions <= {flaw.position for flaw in found}, found
    # The chain speaks of whole appends; all else names what was changed.
    own = {flaw.position for flaw in found if "chain" not in flaw.what and "their hash" not in flaw.what}
    assert own <= positions, found


async def test_a_log_cut_with_its_chain_is_told_by_a_hash_that_was_kept(log: Connection) -> None:
    head = (await resolve(log, "head")).position
    kept = await read_hash_at(log, head)
    assert kept is not None
    await log.execute(BEHIND_THE_BACK)
    for table in ("facts", "fact_ids", "fact_tags"):
        await log.execute(f"delete from factwire.{table} where position > 21")  # noqa: S608
    await log.execute("delete from factwire.chain where last_position > 21")
    assert await flaws_of(log) == []
    assert await read_hash_at(log, head) is None


async def test_the_digest_of_an_erased_fact_tells_nothing_of_its_content(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    guesses = [b'{"ill":true}', b'{"ill":false}']
    fact = await sealed_fact(connection, "patient", payload=guesses[0])
    await append_alone(connection, fact)
    stored = await connection.fetchrow("select k.digest, s.seal from factwire.fact_ids k, factwire.sealed s")
    assert stored is not None
    for payload in guesses:
        guess = a_fact(id=fact.id, data_subject="patient", payload=payload)
        content = guess.document[guess.document.index(b'"namespace"') : -1]
        for text in (content, guess.document, payload):
            assert sha256(text).digest() not in (stored["digest"], stored["seal"][:32])
    # The same guess under the key is the digest: what makes it useless goes with the key.
    again = await sealed_fact(connection, "patient", id=fact.id, payload=guesses[0])
    assert (again.digest, again.seal[:32]) == (stored["digest"], stored["seal"][:32])
    assert again.seal != stored["seal"]
    await connection.close()


async def test_a_seal_opens_for_its_own_fact_only(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    one, other = [await sealed_fact(connection, "a", payload=payload) for payload in (b"1", b"2")]
    await append_alone(connection, one, other)
    await connection.execute(BEHIND_THE_BACK)
    await connection.execute(
        "update factwire.sealed set seal = substr(seal, 1, 32) || substr($1::bytea, 33)", other.seal
    )
    assert {flaw.position for flaw in await flaws_of(connection)} == {1}
    await connection.close()


async def test_rotation_wraps_the_keys_anew_and_touches_no_fact(log: Connection) -> None:
    head = await log.fetchval("select factwire.head()")

    async def rows() -> list[object]:
        return [
            *await log.fetch("select xmin, * from factwire.facts where position <= $1 order by position", head),
            *await log.fetch("select xmin, * from factwire.sealed order by position"),
        ]

    before, old = await rows(), await log.fetchval("select wrapped_key from factwire.data_subjects where id = 'kept'")
    new = bytes(range(KEY_BYTES))
    assert await rotate(log, MasterKeys([new, bytes(KEY_BYTES)]), by="key:a") == 1
    assert await rotate(log, MasterKeys([new, bytes(KEY_BYTES)]), by="key:a") == 0
    assert await rows() == before
    told = await log.fetch("select namespace, type from factwire.facts where position > $1", head)
    assert [tuple(row) for row in told] == [("factwire", "MasterKeyRotated")]
    assert await log.fetchval("select wrapped_key from factwire.data_subjects where id = 'kept'") != old
    assert await flaws_of(log, master_keys=MasterKeys([new])) == []
    verifier = Verifier(log, MASTER_KEYS)
    _ = [each async for each in verifier.run(after=START, until=Position(23))]
    assert verifier.seen.sealed_unopened == 1


async def test_what_tells_of_an_erasure_is_never_redacted(log: Connection) -> None:
    id = await log.fetchval("select id from factwire.facts where type = 'DataSubjectErased'")
    with pytest.raises(FactReserved):
        await redact_fact(log, str(id), reason="hidden", by="test")


async def test_what_was_sealed_before_an_erasure_is_not_appended_behind_it(database_url: str) -> None:
    """The key was read, the payload sealed, and the erasure came first: whoever holds the lock next decides."""
    connection = await asyncpg.connect(database_url)
    late, other, plain = await sealed_fact(connection, "erased"), await sealed_fact(connection, "kept"), a_fact()
    stranger = msgspec.structs.replace(await sealed_fact(connection, "kept"), key_id=str(uuid4()))
    await erase_data_subject(connection, "erased", by="test")
    requests = [([other], None), ([plain, late], None), ([stranger], None), ([plain], None)]
    appended = await append(connection, requests)
    assert {index: refused.refusal for index, refused in appended.refused.items()} == {
        1: Refusal.ERASED,
        2: Refusal.UNKEYED,
    }
    assert (await resolve(connection, "head")).position == 3
    stored = await connection.fetch("select position, data_subject from factwire.sealed")
    assert [tuple(row) for row in stored] == [(2, "kept")]
    assert await flaws_of(connection) == []
    await connection.close()


async def test_a_partition_that_is_made_later_allows_a_redaction_and_nothing_else(fresh_database_url: str) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    fact = a_fact()
    await connection.execute("select factwire.create_partition(10000000)")
    await connection.execute(BEHIND_THE_BACK)
    await connection.execute("update factwire.log set floor = 10000000")
    await connection.execute("reset session_replication_role")
    assert await append_alone(connection, fact) == 10_000_001
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await connection.execute("update factwire.facts_p1 set document = ''")
    assert refusal.value.sqlstate == "FW001"
    await redact_fact(connection, fact.id, reason="by mistake", by="test")
    document = await connection.fetchval("select document from factwire.facts_p1 order by position limit 1")
    assert document.endswith(b'"payload":null,"redacted":true}')
    await connection.close()


FORBIDDEN: dict[str, str] = {
    "redact-without-record": (
        "select set_config('factwire.redacting', pg_current_xact_id()::text, true);"
        "update factwire.facts set document = factwire.redact_document(document) where position = 4"
    ),
    "rewrite-with-record": (
        "insert into factwire.redactions select position, id, 'x', now() from factwire.facts where position = 4;"
        "select set_config('factwire.redacting', pg_current_xact_id()::text, true);"
        "update factwire.facts set document = 'x' where position = 4"
    ),
    "move-with-record": (
        "insert into factwire.redactions select position, id, 'x', now() from factwire.facts where position = 4;"
        "select set_config('factwire.redacting', pg_current_xact_id()::text, true);"
        "update factwire.facts set document = factwire.redact_document(document), type = 'x' where position = 4"
    ),
    "another-transactions-record": (
        "select set_config('factwire.redacting', pg_current_xact_id()::text, true);"
        "update factwire.facts set document = factwire.redact_document(document) where position = 16"
    ),
    "seal": "update factwire.sealed set seal = ''",
    "seal-deleted": "delete from factwire.sealed",
    "record": "delete from factwire.redactions",
    "chain": "update factwire.chain set hash = ''",
    "key-back": (
        "update factwire.data_subjects set erased_at = null, wrapped_key = '', master_key = '' where id = 'erased'"
    ),
    "data-subject": "delete from factwire.data_subjects",
    "data-subjects": "truncate factwire.data_subjects",
}


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_the_database_refuses_what_is_no_redaction_and_no_erasure(log: Connection, name: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as refusal:
        async with log.transaction():
            await log.execute(FORBIDDEN[name])
    assert refusal.value.sqlstate == "FW001"


async def test_an_erasure_that_cannot_be_told_of_does_not_happen(log: Connection) -> None:
    """The key and the fact that tells of it are one transaction: whatever ends it in between takes back both."""
    await log.execute(
        "create function pg_temp.fail() returns trigger language plpgsql as 'begin raise exception ''no''; end';"
        "create trigger fail before update on factwire.log for each row execute function pg_temp.fail()"
    )
    head = (await resolve(log, "head")).position
    try:
        with pytest.raises(asyncpg.RaiseError):
            await erase_data_subject(log, "kept", by="test")
        assert (await resolve(log, "head")).position == head
        assert await log.fetchval("select wrapped_key is not null from factwire.data_subjects where id = 'kept'")
    finally:
        await log.execute("drop trigger fail on factwire.log")
    assert await flaws_of(log) == []


async def test_whoever_reads_flaws_slowly_is_not_cut_off(log: Connection) -> None:
    await log.execute(BEHIND_THE_BACK)
    await log.execute("insert into factwire.fact_tags (tag, position) values ('a:nowhere', 1)")
    await log.execute("set idle_in_transaction_session_timeout = '10s'")
    head = (await resolve(log, "head")).position
    limits = [
        await log.fetchval("show idle_in_transaction_session_timeout")
        async for found in Verifier(log, MASTER_KEYS).run(after=START, until=head)
        if isinstance(found, Flaw) and "it is found by" in found.what
    ]
    assert limits == ["0"]
