"""`factwire erasures`: export erasures and redactions, and apply them to a restored backup."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from factwire.cli.arguments import Parser, add_command
from factwire.cli.database import run_on_database
from factwire.cli.exit_codes import Exit
from factwire.domain.errors import FactNotFound, FactwireError
from factwire.domain.fact import RESERVED_NAMESPACE, is_name
from factwire.domain.position import FACT_ID
from factwire.settings import Settings
from factwire.store.connection import Connection
from factwire.store.erasure import DATA_SUBJECT_ERASED, FACT_REDACTED, erase_data_subject, read_erasures, redact_fact

APPLIED_BY = "factwire erasures apply"
EXAMPLE = "factwire erasures export > erasures.ndjson"


def add_arguments(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_command(commands, "export", "print all erasures and redactions as lines", EXAMPLE, run_export)
    applying = add_command(
        commands, "apply", "repeat the erasures of an export", "factwire erasures apply erasures.ndjson", run_apply
    )
    applying.add_argument("file", help="a file, or - for standard input")


def run_export(options: argparse.Namespace, settings: Settings) -> int:
    return run_on_database(settings, export_erasures)


def run_apply(options: argparse.Namespace, settings: Settings) -> int:
    lines = sys.stdin.buffer if options.file == "-" else Path(options.file).read_bytes().splitlines()
    return run_on_database(settings, lambda connection: apply_erasures(connection, lines))


async def export_erasures(connection: Connection) -> int:
    """Print the facts that record erasures and redactions, one per line."""
    async for line in read_erasures(connection):
        print(line.decode())
    return Exit.DONE


async def apply_erasures(connection: Connection, lines: Iterable[bytes]) -> int:
    """Apply the erasures and redactions of an export. An earlier erasure stays as it is.

    Facts of other namespaces are ignored: any client that may publish there can use these types.
    """
    counts = {"applied": 0, "known": 0, "unknown": 0, "ignored": 0}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            counts[await apply_erasure(connection, line)] += 1
        except (ValueError, KeyError, TypeError, FactwireError) as error:
            print(f"line {number} cannot be applied: {error}", file=sys.stderr)
            return Exit.FAILED
    print(json.dumps(counts))
    return Exit.DONE


async def apply_erasure(connection: Connection, line: bytes) -> str:
    fact = json.loads(line)
    if fact["namespace"] != RESERVED_NAMESPACE:
        return "ignored"
    payload = fact["payload"]
    match fact["type"]:
        case str(type) if type == DATA_SUBJECT_ERASED and is_name(payload["data_subject"]):
            # A data subject that is not in the backup must not be created later.
            done = await erase_data_subject(connection, payload["data_subject"], by=APPLIED_BY, unknown_too=True)
        case str(type) if type == FACT_REDACTED and FACT_ID.fullmatch(payload["id"]):
            try:
                done = await redact_fact(connection, payload["id"], reason=payload["reason"], by=APPLIED_BY)
            except FactNotFound:
                return "unknown"
        case _:
            raise ValueError("it records neither an erasure nor a redaction")
    return "known" if done.known else "applied"
