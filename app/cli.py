"""The command line: serve, migrate, import, tail, doctor, keys, epoch raise, verify, erasures, master-key, openapi."""

import argparse
import asyncio
import logging
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType
from typing import NoReturn

import asyncpg
from pydantic import SecretStr, ValidationError

from app import __version__, commands, doctor, keeping
from app.access.claims import by_value_from
from app.domain.position import Position
from app.key_commands import COMMAND_LINE, add_key_commands, run_key_command
from app.settings import Settings, range_of
from app.store import embedded
from app.store.database import CONNECTION_FAILURES, Connection
from app.store.epochs import raise_epoch
from app.store.master_keys import MasterKeyRefused, load_master_keys
from app.store.migrations import MigrationRefused, is_empty, migrate
from app.telemetry.logs import configure_logging, logs_json, said

log = logging.getLogger(__name__)

IDLE_SECONDS_MAX = 3600

FIRST_STEPS = """
Factwire serves {url}

publish:  curl {url}/v1/facts -H 'content-type: application/json' -d '{{"facts": [
          {{"namespace": "shop", "type": "OrderPlaced", "aggregate_ids": ["order-1"], "payload": {{"total": 12.5}}}}]}}'
read:     curl '{url}/v1/facts?aggregate_id=order-1'
follow:   curl -N '{url}/v1/stream?namespace=shop'
"""

OPEN_TO_OTHERS = (
    "FACTWIRE_AUTH: without it the service listens on loopback addresses only, and {host} is none. Set"
    " FACTWIRE_AUTH=keys, or FACTWIRE_AUTH=none for a service that is open to whoever reaches it."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if os.getpid() == 1:
        # The kernel keeps from the first process of a container every signal for which it has no handler.
        signal.signal(signal.SIGTERM, leave)
    options = new_parser().parse_args(arguments)
    try:
        settings = Settings(
            **{
                name: value
                for name, value in vars(options).items()
                if name in Settings.model_fields and value is not None
            }
        )
        configure_logging(settings.log_format)
        code: int = options.run(options, settings)
        return code
    except ValidationError as error:
        if os.environ.get("FACTWIRE_LOG_FORMAT") == "json":  # the settings, which would say so, do not exist
            configure_logging("json")
        for wrong in error.errors():
            name = "_".join(map(str, wrong["loc"]))
            bounds = range_of(name)
            between = f" ({bounds[0]:.15g} to {bounds[1]:.15g})" if bounds else ""
            complain(f"FACTWIRE_{name.upper()}: {wrong['msg']}{between}" if name else wrong["msg"])
        return 2
    except (MigrationRefused, MasterKeyRefused, embedded.NotInstalled, asyncpg.PostgresError, OSError) as error:
        complain(f"factwire: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def complain(line: str) -> None:
    """Say on standard error why the command ends, as JSON where that is wanted."""
    if logs_json():
        log.critical(line)
    else:
        print(line, file=sys.stderr)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def new_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("factwire", description="Facts over plain HTTP, kept in PostgreSQL.")
    parser.add_argument("--version", action="version", version=f"factwire {__version__}")
    commands_of = parser.add_subparsers(required=True, metavar="COMMAND")

    serving = commands_of.add_parser("serve", help="run the service")
    serving.add_argument("--host")
    serving.add_argument("--port", type=int)
    serving.add_argument("--workers", type=int)
    serving.set_defaults(run=serve)

    working = commands_of.add_parser("work")  # one worker of `serve --workers`, not for people
    working.add_argument("parent", type=int)
    working.set_defaults(run=work)

    migrating = commands_of.add_parser("migrate", help="bring the schema of the database up to date")
    migrating.set_defaults(run=migrate_database)

    importing = commands_of.add_parser("import", help="publish facts from NDJSON, a fact a line")
    importing.add_argument("file", help="a file, possibly .gz, or - for standard input")
    importing.add_argument("--url")
    importing.set_defaults(run=import_file)

    tailing = commands_of.add_parser("tail", help="follow the log and print each fact as a line")
    tailing.add_argument("--url")
    tailing.add_argument("--after", default="head", help="a cursor, a position, the id of a fact, start or head")
    for name in ("--namespace", "--type", "--aggregate-id", "--meta"):
        tailing.add_argument(name, action="append", default=[])
    tailing.set_defaults(run=tail)

    add_doctor_options(commands_of.add_parser("doctor", help="check the database and the service, say what to change"))

    add_epoch_commands(commands_of.add_parser("epoch", help="tell the log that history was lost"))
    add_keeping_options(commands_of)
    add_key_commands(commands_of.add_parser("keys", help="make, list, rotate and revoke keys"), run=manage_keys)

    describing = commands_of.add_parser("openapi", help="print the OpenAPI document")
    describing.set_defaults(run=print_openapi)
    return parser


def add_epoch_commands(parser: argparse.ArgumentParser) -> None:
    raising = parser.add_subparsers(required=True).add_parser(
        "raise", help="begin a new epoch; older cursors stay good up to the fork"
    )
    raising.add_argument(
        "--forked-after", type=int, help="the last position that both histories share; the head without it"
    )
    raising.set_defaults(run=raise_the_epoch)


def add_keeping_options(commands_of: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verifying = commands_of.add_parser("verify", help="see whether the log is still what was appended to it")
    verifying.add_argument("--from", dest="first", type=int, default=1, help="the first position; 1 without it")
    verifying.add_argument("--to", dest="last", type=int, help="the last position; the head without it")
    verifying.add_argument(
        "--expect-hash", type=keeping.parse_hash, action="append", default=[], metavar="POSITION:HASH"
    )
    verifying.set_defaults(run=verify)

    erasures = commands_of.add_parser("erasures", help="carry erasures over a restored backup")
    of_erasures = erasures.add_subparsers(required=True, metavar="COMMAND")
    exporting = of_erasures.add_parser("export", help="print what was erased and redacted, a line each")
    exporting.set_defaults(run=export_erasures)
    applying = of_erasures.add_parser("apply", help="erase and redact again what an export tells")
    applying.add_argument("file", help="a file, or - for standard input")
    applying.set_defaults(run=apply_erasures)

    master_key = commands_of.add_parser("master-key", help="make and rotate what wraps the keys of data subjects")
    of_master_key = master_key.add_subparsers(required=True, metavar="COMMAND")
    making = of_master_key.add_parser("new", help="print a new master key")
    making.set_defaults(run=lambda options, settings: keeping.print_master_key())
    rotating = of_master_key.add_parser("rotate", help="wrap every data key with the current master key")
    rotating.set_defaults(run=rotate_master_key)


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url")
    parser.add_argument("--processes", type=process_count, help="of all replicas together; FACTWIRE_WORKERS without it")
    parser.add_argument("--publish-in", metavar="NAMESPACE", help="publish a few facts there to time their delivery")
    parser.add_argument("--seconds", type=idle_seconds, help="also see whether an idle stream stays open for so long")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=examine)


def process_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of processes, at least 1, not {text}")
    return int(text)


def idle_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= IDLE_SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"expected seconds, above 0 and at most {IDLE_SECONDS_MAX}, not {text}")
    return seconds


def serve(options: argparse.Namespace, settings: Settings) -> int:
    from app.server import bind, run
    from app.tls import CertificateRefused, certificate_of
    from app.workers import Workers

    if settings.is_open_to_others:
        complain(OPEN_TO_OTHERS.format(host=settings.host))
        return 2
    try:
        by_value_from(settings.jwt_grants)
    except ValueError as error:
        complain(f"FACTWIRE_JWT_GRANTS: {error}")
        return 2
    try:
        certificate = certificate_of(settings)
        if certificate is not None:
            certificate.context()
    except CertificateRefused as error:
        complain(str(error))
        return 2
    load_master_keys(*settings.master_key_sources)  # where they are wrong, no worker need find out
    settings = with_database(settings)
    prepare_schema(settings)
    if settings.workers > 1:
        workers = Workers(settings)
        greet(reachable_url(settings, workers.port))
        return workers.run()
    listening = bind(settings.host, settings.port, shared=False)
    greet(reachable_url(settings, listening.getsockname()[1]))
    run(settings, listening)
    return 0


def greet(url: str) -> None:
    """Show the first steps, or tell a program where the service is."""
    if logs_json():
        log.info("Factwire serves %s", url)
    else:
        print(FIRST_STEPS.format(url=url), flush=True)


def work(options: argparse.Namespace, settings: Settings) -> int:
    from app.server import bind, run

    run(settings, bind(settings.host, settings.port, shared=True), parent=options.parent)
    return 0


def migrate_database(options: argparse.Namespace, settings: Settings) -> int:
    migrate(url_of(with_database(settings)))
    return 0


def import_file(options: argparse.Namespace, settings: Settings) -> int:
    return commands.import_file(settings.url, options.file, credentials=settings.credentials)


def tail(options: argparse.Namespace, settings: Settings) -> int:
    filters = {name: getattr(options, name) for name in ("namespace", "type", "aggregate_id", "meta")}
    return commands.tail(settings.url, after=options.after, filters=filters, credentials=settings.credentials)


def examine(options: argparse.Namespace, settings: Settings) -> int:
    processes = options.processes or settings.workers
    wanted = doctor.Wanted(processes=processes, publish_in=options.publish_in, idle_seconds=options.seconds)
    return doctor.run(settings, wanted, as_json=options.json)


def raise_the_epoch(options: argparse.Namespace, settings: Settings) -> int:
    async def run() -> None:
        connection = await asyncpg.connect(url_of(with_database(settings)))
        try:
            epoch, forked_after = await raise_epoch(connection, forked_after=options.forked_after, by=COMMAND_LINE.name)
        finally:
            await connection.close()
        print(f"The epoch is {epoch}. Older cursors are good up to position {forked_after}.")

    asyncio.run(run())
    return 0


def verify(options: argparse.Namespace, settings: Settings) -> int:
    wanted = keeping.Wanted(
        after=Position(max(0, options.first - 1)),
        until=None if options.last is None else Position(options.last),
        hashes=tuple(options.expect_hash),
    )
    master_keys = load_master_keys(*settings.master_key_sources)
    return keep(settings, lambda connection: keeping.verify(connection, wanted, master_keys))


def export_erasures(options: argparse.Namespace, settings: Settings) -> int:
    return keep(settings, keeping.export_erasures)


def apply_erasures(options: argparse.Namespace, settings: Settings) -> int:
    lines = keeping.lines_of(options.file)
    return keep(settings, lambda connection: keeping.apply_erasures(connection, lines))


def rotate_master_key(options: argparse.Namespace, settings: Settings) -> int:
    master_keys = load_master_keys(*settings.master_key_sources)
    return keep(settings, lambda connection: keeping.rotate_master_key(connection, master_keys))


def keep(settings: Settings, work: Callable[[Connection], Awaitable[int]]) -> int:
    return asyncio.run(keeping.on_database(url_of(with_database(settings)), work))


def manage_keys(options: argparse.Namespace, settings: Settings) -> int:
    settings = with_database(settings)
    prepare_schema(settings)  # so that there can be a first key before the service has run
    return run_key_command(url_of(settings), options)


def print_openapi(options: argparse.Namespace, settings: Settings) -> int:
    from app.api.openapi import rendered
    from app.main import create_app

    anywhere = settings.model_copy(update={"database_url": SecretStr("postgresql://localhost")})
    print(rendered(create_app(anywhere)), end="")
    return 0


def with_database(settings: Settings) -> Settings:
    """The settings with a database: the one that is named, or the embedded one, started for it."""
    if settings.database_url is not None:
        return settings
    server = embedded.start(settings.data_dir or embedded.default_directory())
    return settings.model_copy(update={"database_url": SecretStr(server.get_uri())})


def prepare_schema(settings: Settings) -> None:
    """Create the schema where there is none. An older one is upgraded by `migrate` only, unless it is embedded.

    A database that cannot be reached is waited for by the service itself, which is not ready until then.
    """
    try:
        if settings.database_url is not None and (is_embedded(settings) or is_empty(url_of(settings))):
            migrate(url_of(settings))
    except CONNECTION_FAILURES as error:
        log.warning("the database cannot be reached yet: %s", said(error))


def is_embedded(settings: Settings) -> bool:
    return settings.database_url is not None and "FACTWIRE_DATABASE_URL" not in os.environ


def url_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def reachable_url(settings: Settings, port: int) -> str:
    host = settings.host
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http{'s' if settings.tls_certificate_file else ''}://{name}:{port}"
