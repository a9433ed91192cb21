"""`factwire serve`, `migrate` and `openapi`: the service itself, and its database."""

import argparse
import logging
import signal
import sys

from pydantic import SecretStr

from factwire.commands.exits import Exit, leave
from factwire.commands.parsing import Commands, Parser, add_command
from factwire.settings import Settings
from factwire.telemetry.logs import logs_json, said

log = logging.getLogger(__name__)

FIRST_STEPS = """
Factwire serves {url}

publish:  curl {url}/v1/facts -H 'content-type: application/json' -d '{{"facts": [
          {{"namespace": "shop", "type": "OrderPlaced", "aggregate_ids": ["order-1"], "payload": {{"total": 12.5}}}}]}}'
read:     curl '{url}/v1/facts?aggregate_id=order-1'
follow:   curl -N '{url}/v1/stream?namespace=shop'
"""
EMBEDDED = "The database is the embedded one in {directory} (FACTWIRE_DATABASE_URL and FACTWIRE_DATA_DIR name others)."

OPEN_TO_OTHERS = (
    "FACTWIRE_AUTH: without it the service listens on loopback addresses only, and {host} is none. Set"
    " FACTWIRE_AUTH=keys, or FACTWIRE_AUTH=none for a service that is open to whoever reaches it."
)


def add_to(commands: "Commands[Parser]") -> None:
    serving = add_command(commands, "serve", "run the service", "factwire serve --port 8080 --workers 2", serve)
    serving.add_argument("--host", help="the address to listen on; FACTWIRE_HOST without it")
    serving.add_argument("--port", type=int, help="0 takes a free one; FACTWIRE_PORT without it")
    serving.add_argument("--workers", type=int, help="processes; FACTWIRE_WORKERS without it")

    working = commands.add_parser("work")  # one worker of `serve --workers`, not for people
    working.add_argument("parent", type=int)
    working.set_defaults(run=work)

    add_command(
        commands,
        "migrate",
        "bring the schema of the database up to date",
        "FACTWIRE_DATABASE_URL=postgresql://factwire@db/facts factwire migrate",
        migrate_database,
    )
    openapi = add_command(
        commands, "openapi", "print the OpenAPI document", "factwire openapi > openapi.json", print_openapi
    )
    openapi.add_argument(
        "--with-items", action="store_true", help="as OpenAPI 3.2, which tells what streams and lines consist of"
    )


def serve(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.access.claims import by_value_from
    from factwire.serving.server import bind, run
    from factwire.serving.tls import CertificateRefused, certificate_of
    from factwire.serving.workers import Workers
    from factwire.store.master_keys import load_master_keys

    if settings.is_open_to_others:
        complain(OPEN_TO_OTHERS.format(host=settings.host))
        return Exit.USAGE
    try:
        by_value_from(settings.jwt_grants)
    except ValueError as error:
        complain(f"FACTWIRE_JWT_GRANTS: {error}")
        return Exit.USAGE
    try:
        certificate = certificate_of(settings)
        if certificate is not None:
            certificate.context()
    except CertificateRefused as error:
        complain(str(error))
        return Exit.USAGE
    load_master_keys(*settings.master_key_sources)  # where they are wrong, no worker need find out
    # Before a database is made for nothing.
    listening = bind(settings.host, settings.port, shared=False) if settings.workers == 1 else None
    settings = prepared(settings)
    if listening is None:
        workers = Workers(settings)
        greet(reachable_url(settings, workers.port))
        return workers.run()
    greet(reachable_url(settings, listening.getsockname()[1]))
    run(settings, listening)
    return Exit.DONE


def greet(url: str) -> None:
    """Show the first steps, or tell a program where the service is."""
    if logs_json():
        log.info("Factwire serves %s", url)
    else:
        print(FIRST_STEPS.format(url=url), flush=True)


def work(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.serving.server import bind, run

    run(settings, bind(settings.host, settings.port, shared=True), parent=options.parent)
    return Exit.DONE


def migrate_database(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.store.migrations import migrate

    migrate(url_of(with_database(settings)))
    return Exit.DONE


def print_openapi(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.api.openapi import NEWER_VERSION, VERSION, rendered
    from factwire.main import create_app

    anywhere = settings.model_copy(update={"database_url": SecretStr("postgresql://localhost")})
    print(rendered(create_app(anywhere), NEWER_VERSION if options.with_items else VERSION), end="")
    return Exit.DONE


def with_database(settings: Settings) -> Settings:
    """The settings with a database: the one that is named, or the embedded one, started for it."""
    from factwire.store import embedded

    if settings.database_url is not None:
        return settings
    directory = settings.data_dir or embedded.default_directory()
    signal.signal(signal.SIGTERM, leave)  # so that the server is not left behind
    server = embedded.start(directory)
    if not logs_json():
        print(EMBEDDED.format(directory=directory), file=sys.stderr)
    return settings.model_copy(update={"database_url": SecretStr(server.url)})


def prepared(settings: Settings) -> Settings:
    """The settings with a database that has a schema, as far as it can be reached."""
    found = with_database(settings)
    prepare_schema(found, embedded=settings.database_url is None)
    return found


def prepare_schema(settings: Settings, *, embedded: bool) -> None:
    """Create the schema where there is none. An older one is upgraded by `migrate` only, unless it is embedded.

    A database that cannot be reached is waited for by the service itself, which is not ready until then.
    """
    from factwire.store.database import CONNECTION_FAILURES
    from factwire.store.migrations import is_empty, migrate

    try:
        if is_empty(url_of(settings)) or embedded:
            migrate(url_of(settings))
    except CONNECTION_FAILURES as error:
        log.warning("the database cannot be reached yet: %s", said(error))


def url_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def reachable_url(settings: Settings, port: int) -> str:
    host = settings.host
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http{'s' if settings.tls_certificate_file else ''}://{name}:{port}"


def complain(line: str) -> None:
    """Say on standard error why the command ends, as JSON where that is wanted."""
    if logs_json():
        log.critical(line)
    else:
        print(line, file=sys.stderr)
