"""Work on the database itself: verify, erasures and master keys."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from factwire.domain.errors import FactNotFound, FactwireError
from factwire.domain.fact import RESERVED_NAMESPACE, is_name
from factwire.domain.position import FACT_ID, START, Position
from factwire.postgres_url import SessionNeeded, target_of
from factwire.store.chain import Flaw, read_hash_at
from factwire.store.connecting import connect
from factwire.store.database import Connection
from factwire.store.erasing import DATA_SUBJECT_ERASED, FACT_REDACTED, erase_data_subject, read_erasures, redact_fact
from factwire.store.master_keys import MasterKeys, new_master_key
from factwire.store.reading import resolve
from factwire.store.rotating import rotate
from factwire.store.timelines import keep_server, read_kept, read_server
from factwire.store.verifying import Verifier

PROGRESS_FACTS = 100_000
APPLIED_BY = "factwire erasures apply"
ROTATED_BY = "factwire master-key rotate"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be verified: facts behind `after` up to `until` (None: the head), and hashes that were kept."""

    after: Position = START
    until: Position | None = None
    hashes: tuple[tuple[Position, str], ...] = ()


async def on_database(url: str, work: Callable[[Connection], Awaitable[int]]) -> int:
    """Do some work with a session of its own. Raises SessionNeeded where a URL leads to pooled transactions."""
    if target_of(url).pooled:
        raise SessionNeeded("this command needs a session of its own: give the URL of the server, not of PgBouncer")
    connection = await connect(url, application_name="factwire keep")
    try:
        return await work(connection)
    finally:
        await connection.close()


async def verify(connection: Connection, wanted: Wanted, master_keys: MasterKeys) -> int:
    """Print each flaw, and what was looked at; 1 if there is a flaw."""
    head = (await resolve(connection, "head")).position
    until = head if wanted.until is None else min(wanted.until, head)
    verifier = Verifier(connection, master_keys)
    flaws = 0
    async for found in all_flaws(connection, verifier, wanted, until):
        flaws += 1
        print(found.what if found.position is None else f"position {found.position}: {found.what}", flush=True)
    print(f"{verifier.seen.facts} facts from position {wanted.after + 1} to {until}: {flaws or 'no'} flaws.")
    if verifier.seen.sealed_unopened:
        print(
            f"{verifier.seen.sealed_unopened} payloads are sealed with keys that were not given, and were not opened."
        )
    if verifier.chain.began_at is None:
        print("No entry of the chain is about them.")
    elif verifier.chain.last is not None:
        last = verifier.chain.last
        print(f"The chain begins at position {verifier.chain.began_at}. Keep what it ends with elsewhere, for later:")
        print(f"--expect-hash {last.last}:{last.hash.hex()}")
    return 1 if flaws else 0


async def all_flaws(connection: Connection, verifier: Verifier, wanted: Wanted, until: Position) -> AsyncIterator[Flaw]:
    told_at = wanted.after
    async for found in verifier.run(after=wanted.after, until=until):
        if isinstance(found, Flaw):
            yield found
        elif found - told_at >= PROGRESS_FACTS:
            told_at = found
            print(f"verified to position {found} of {until}", file=sys.stderr, flush=True)
    for position, kept in wanted.hashes:
        stored = await read_hash_at(connection, position)
        if stored is None or stored.hex() != kept:
            yield Flaw(position, "the chain does not have the hash that was kept")


async def keep_history(connection: Connection) -> int:
    """Store that nothing was lost on the way to this server; 1 where somebody has noticed that facts were."""
    server = await read_server(connection)
    if await keep_server(connection, server):
        where = "" if server is None else f" Timeline {server.timeline} of server {server.system_identifier} is stored."
        print(f"The history is confirmed.{where}")
        return 0
    fork = (await read_kept(connection)).fork
    after = "an unknown position" if fork is None or fork.after is None else f"position {fork.after}"
    told = (
        f"a process has noticed that facts after {after} were replaced or are gone: only `factwire epoch raise` helps"
    )
    print(f"factwire: {told}", file=sys.stderr)
    return 1


async def export_erasures(connection: Connection) -> int:
    """Print the facts that tell of erasures and redactions, a line each."""
    async for line in read_erasures(connection):
        print(line.decode())
    return 0


async def apply_erasures(connection: Connection, lines: Iterable[bytes]) -> int:
    """Erase and redact again what an export tells; what is erased already stays as it is.

    Facts of other namespaces are ignored: anybody who may publish there can give them these types.
    """
    counts = {"applied": 0, "known": 0, "unknown": 0, "ignored": 0}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            counts[await apply_erasure(connection, line)] += 1
        except (ValueError, KeyError, TypeError, FactwireError) as error:
            print(f"line {number} cannot be applied: {error}", file=sys.stderr)
            return 1
    print(json.dumps(counts))
    return 0


async def apply_erasure(connection: Connection, line: bytes) -> str:
    told = json.loads(line)
    if told["namespace"] != RESERVED_NAMESPACE:
        return "ignored"
    payload = told["payload"]
    match told["type"]:
        case str(type) if type == DATA_SUBJECT_ERASED and is_name(payload["data_subject"]):
            # One that the backup does not know yet must not come into being again.
            done = await erase_data_subject(connection, payload["data_subject"], by=APPLIED_BY, unknown_too=True)
        case str(type) if type == FACT_REDACTED and FACT_ID.fullmatch(payload["id"]):
            try:
                done = await redact_fact(connection, payload["id"], reason=payload["reason"], by=APPLIED_BY)
            except FactNotFound:
                return "unknown"
        case _:
            raise ValueError("it tells of no erasure and of no redaction")
    return "known" if done.known else "applied"


def lines_of(file: str) -> Iterable[bytes]:
    return sys.stdin.buffer if file == "-" else Path(file).read_bytes().splitlines()


async def rotate_master_key(connection: Connection, master_keys: MasterKeys) -> int:
    if not master_keys:
        print("factwire: set FACTWIRE_MASTER_KEY or FACTWIRE_MASTER_KEY_FILE, the new key first", file=sys.stderr)
        return 1
    try:
        rotated = await rotate(connection, master_keys, by=ROTATED_BY)
    except FactwireError as error:
        print(f"factwire: {error.detail}", file=sys.stderr)
        return 1
    print(f"{rotated} data keys were wrapped with the master key {master_keys.current}; no other is needed any more.")
    return 0


def print_master_key() -> int:
    print(new_master_key())
    return 0
