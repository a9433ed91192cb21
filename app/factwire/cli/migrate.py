"""`factwire migrate`: create or upgrade the schema of the database."""

import argparse
import logging

from factwire.cli.arguments import Parser
from factwire.cli.database import url_of, with_database
from factwire.cli.exit_codes import Exit
from factwire.settings import Settings
from factwire.store.pools import CONNECTION_FAILURES
from factwire.store.schema.migrate import is_empty, migrate
from factwire.telemetry.logs import describe_error

EXAMPLE = "FACTWIRE_DATABASE_URL=postgresql://factwire@db/facts factwire migrate"

log = logging.getLogger(__name__)


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> int:
    migrate(url_of(with_database(settings)))
    return Exit.DONE


def with_schema(settings: Settings) -> Settings:
    """Settings with a database that has a schema, if the database can be reached."""
    found = with_database(settings)
    prepare_schema(found, embedded=settings.database_url is None)
    return found


def prepare_schema(settings: Settings, *, embedded: bool) -> None:
    """Create a missing schema. An older one is upgraded only if the database is the embedded one.

    If the database cannot be reached, a warning is logged: the service waits for it and is not ready until then.
    """
    try:
        if is_empty(url_of(settings)) or embedded:
            migrate(url_of(settings))
    except CONNECTION_FAILURES as error:
        log.warning("the database cannot be reached yet: %s", describe_error(error))
