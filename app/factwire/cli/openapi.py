"""`factwire openapi`: print the OpenAPI document."""

import argparse

from pydantic import SecretStr

from factwire.api.openapi.document import NEWER_VERSION, VERSION, render_document
from factwire.cli.arguments import Parser
from factwire.cli.exit_codes import Exit
from factwire.composition.application import create_app
from factwire.settings import Settings

EXAMPLE = "factwire openapi > openapi.json"


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=run)
    parser.add_argument(
        "--with-items", action="store_true", help="as OpenAPI 3.2, which describes the items of streams and lines"
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    anywhere = settings.model_copy(update={"database_url": SecretStr("postgresql://localhost")})
    print(render_document(create_app(anywhere), NEWER_VERSION if options.with_items else VERSION), end="")
    return Exit.DONE
