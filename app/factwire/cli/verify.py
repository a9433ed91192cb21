"""`factwire verify`: check that the log is unchanged since it was appended, with the help of its hash chain."""

import argparse
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from factwire.cli.arguments import Parser
from factwire.cli.database import run_on_database
from factwire.cli.exit_codes import Exit
from factwire.domain.position import START, Position
from factwire.settings import Settings
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys, load_master_keys
from factwire.store.log import resolve
from factwire.store.verification.chain import Flaw, read_hash_at
from factwire.store.verification.verifier import Verifier

PROGRESS_FACTS = 100_000
EXAMPLE = "factwire verify --from 1000"


@dataclass(frozen=True, slots=True)
class VerifiedRange:
    """Facts after `after` up to `until` (None: the head), and expected chain hashes that were kept elsewhere."""

    after: Position = START
    until: Position | None = None
    hashes: tuple[tuple[Position, str], ...] = ()


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=run)
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first position (default: 1)")
    parser.add_argument("--to", dest="last", type=int, help="the last position (default: the head)")
    parser.add_argument("--expect-hash", type=parse_hash, action="append", default=[], metavar="POSITION:HASH")


def run(options: argparse.Namespace, settings: Settings) -> int:
    verified = VerifiedRange(
        after=Position(max(0, options.first - 1)),
        until=None if options.last is None else Position(options.last),
        hashes=tuple(options.expect_hash),
    )
    master_keys = load_master_keys(*settings.master_key_sources)
    return run_on_database(settings, lambda connection: verify(connection, verified, master_keys))


def parse_hash(text: str) -> tuple[Position, str]:
    """Position and hash of the chain at that position, from `POSITION:HASH`."""
    position, _, digest = text.partition(":")
    bytes.fromhex(digest)
    return Position(int(position)), digest.lower()


async def verify(connection: Connection, verified: VerifiedRange, master_keys: MasterKeys) -> int:
    """Print each flaw and a summary. Returns 1 if a flaw was found."""
    head = (await resolve(connection, "head")).position
    until = head if verified.until is None else min(verified.until, head)
    verifier = Verifier(connection, master_keys)
    flaws = 0
    async for found in find_flaws(connection, verifier, verified, until):
        flaws += 1
        print(found.what if found.position is None else f"position {found.position}: {found.what}", flush=True)
    print(f"{verifier.seen.facts} facts from position {verified.after + 1} to {until}: {flaws or 'no'} flaws.")
    if verifier.seen.sealed_unopened:
        print(f"{verifier.seen.sealed_unopened} payloads were not decrypted: their master keys were not given.")
    if verifier.chain.began_at is None:
        print("The chain has no entry for these positions.")
    elif verifier.chain.last is not None:
        last = verifier.chain.last
        print(f"The chain begins at position {verifier.chain.began_at}. Keep its last hash for later:")
        print(f"--expect-hash {last.last}:{last.hash.hex()}")
    return Exit.FAILED if flaws else Exit.DONE


async def find_flaws(
    connection: Connection, verifier: Verifier, verified: VerifiedRange, until: Position
) -> AsyncIterator[Flaw]:
    reported_at = verified.after
    async for found in verifier.run(after=verified.after, until=until):
        if isinstance(found, Flaw):
            yield found
        elif found - reported_at >= PROGRESS_FACTS:
            reported_at = found
            print(f"verified to position {found} of {until}", file=sys.stderr, flush=True)
    for position, kept in verified.hashes:
        stored = await read_hash_at(connection, position)
        if stored is None or stored.hex() != kept:
            yield Flaw(position, "the chain does not have the hash that was kept")
