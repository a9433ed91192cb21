"""`factwire serve`: run the service."""

import argparse
import logging
import os
import socket

from factwire.auth.claims import by_value_from
from factwire.auth.key_file import KeyFileRefused, read_keys
from factwire.cli.arguments import Parser
from factwire.cli.ephemeral import Announcement, ephemeral_settings, with_ephemeral_database
from factwire.cli.exit_codes import Exit, Stopped, complain
from factwire.cli.migrate import with_schema
from factwire.server.server import bind, run
from factwire.server.supervisor import Workers
from factwire.server.tls import CertificateRefused, certificate_of
from factwire.settings import Settings
from factwire.store.encryption.keys import load_master_keys
from factwire.telemetry.logs import logs_json

EXAMPLE = "factwire serve --port 8080 --workers 2"

FIRST_STEPS = """
Factwire serves {url}

publish:  curl {url}/v1/facts {key}-H 'content-type: application/json' -d '{{"facts": [
          {{"namespace": "shop", "type": "OrderPlaced", "aggregate_ids": ["order-1"], "payload": {{"total": 12.5}}}}]}}'
read:     curl {key}'{url}/v1/facts?aggregate_id=order-1'
follow:   curl -N {key}'{url}/v1/stream?namespace=shop'
"""
OPEN_TO_OTHERS = (
    "FACTWIRE_AUTH is not set: the service then listens on loopback addresses only, and {host} is not one. Set"
    " FACTWIRE_AUTH=keys, or FACTWIRE_AUTH=none for a service that is open to every client that reaches it."
)

log = logging.getLogger(__name__)


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=serve)
    parser.add_argument("--host", help="the address to listen on (default: FACTWIRE_HOST)")
    parser.add_argument("--port", type=int, help="0 chooses a free one (default: FACTWIRE_PORT)")
    parser.add_argument("--workers", type=int, help="processes (default: FACTWIRE_WORKERS)")
    parser.add_argument(
        "--ephemeral",
        action="store_true",
        help="a new, empty log in a PostgreSQL of its own, removed at the end: for tests; the port is a free one",
    )
    parser.add_argument(
        "--seed", metavar="FILE", help="with --ephemeral: facts to begin with, as `factwire import` takes them"
    )
    parser.add_argument(
        "--announce", choices=["json"], help="print one line of JSON once requests are served: url, pid, database_url"
    )
    parser.add_argument("--with-parent", action="store_true", help="end when the process ends that started this one")


def add_worker_arguments(parser: Parser) -> None:
    """Add the arguments of the hidden command `work`: one worker process of `serve --workers`."""
    parser.set_defaults(run=work)
    parser.add_argument("parent", type=int)


def serve(options: argparse.Namespace, settings: Settings) -> int:
    settings = ephemeral_settings(options, settings)
    if settings.is_open_to_others:
        complain(OPEN_TO_OTHERS.format(host=settings.host))
        return Exit.USAGE
    check_access(settings)
    try:
        certificate = certificate_of(settings)
        if certificate is not None:
            certificate.context()
    except CertificateRefused as error:
        complain(str(error))
        return Exit.USAGE
    load_master_keys(*settings.master_key_sources)  # an invalid key fails here, not in each worker
    # Bind before a database is created: that would be useless if the port is in use.
    listening = bind(settings.host, settings.port, shared=False) if settings.workers == 1 else None
    settings = with_ephemeral_database(settings) if options.ephemeral else with_schema(settings)
    return serve_workers(settings) if listening is None else serve_alone(options, settings, listening)


def check_access(settings: Settings) -> None:
    """Raises Stopped if grants or keys that the settings name cannot be read."""
    try:
        by_value_from(settings.jwt_grants)
    except ValueError as error:
        raise Stopped(f"FACTWIRE_JWT_GRANTS: {error}", Exit.USAGE) from None
    try:
        if settings.keys_file is not None:
            read_keys(settings.keys_file)
    except KeyFileRefused as error:
        raise Stopped(f"FACTWIRE_KEYS_FILE: {error}", Exit.USAGE) from None


def serve_workers(settings: Settings) -> int:
    workers = Workers(settings)
    greet(reachable_url(settings, workers.port), is_open=settings.is_open)
    return workers.run()


def serve_alone(options: argparse.Namespace, settings: Settings, listening: socket.socket) -> int:
    url = reachable_url(settings, listening.getsockname()[1])
    announcement = Announcement(url, settings, seed=options.seed, announces=options.announce is not None)
    if options.announce is None:
        greet(url, is_open=settings.is_open)
    run(settings, listening, parent=os.getppid() if options.with_parent else None, on_ready=announcement)
    return announcement.code


def work(options: argparse.Namespace, settings: Settings) -> int:
    run(settings, bind(settings.host, settings.port, shared=True), parent=options.parent)
    return Exit.DONE


def greet(url: str, *, is_open: bool) -> None:
    """Print the first steps, or log the URL if logs are JSON."""
    if logs_json():
        log.info("Factwire serves %s", url)
    else:
        key = "" if is_open else '-H "authorization: Bearer $KEY" '
        print(FIRST_STEPS.format(url=url, key=key), flush=True)


def reachable_url(settings: Settings, port: int) -> str:
    host = settings.host
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http{'s' if settings.tls_certificate_file else ''}://{name}:{port}"
