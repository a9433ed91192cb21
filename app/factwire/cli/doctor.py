"""`factwire doctor`: check the database and the service, and print the changes that they need."""

import argparse

from factwire.cli.arguments import Parser, add_url, bounded
from factwire.doctor import report
from factwire.settings import Settings

PROCESSES_MAX = 10_000
IDLE_SECONDS_MAX = 3600


EXAMPLE = "factwire doctor --url https://facts.example --publish-in scratch --seconds 120"


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=examine)
    add_url(parser)
    parser.add_argument(
        "--processes",
        type=bounded(1, PROCESSES_MAX, whole=True),
        help="number in all replicas together (default: FACTWIRE_WORKERS)",
    )
    parser.add_argument("--publish-in", metavar="NAMESPACE", help="publish a few facts there to time their delivery")
    parser.add_argument(
        "--seconds",
        type=bounded(0.001, IDLE_SECONDS_MAX),
        help="also see whether an idle stream stays open for so long",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def examine(options: argparse.Namespace, settings: Settings) -> int:
    processes = options.processes or settings.workers
    checked = report.DoctorOptions(processes=processes, publish_in=options.publish_in, idle_seconds=options.seconds)
    return report.run(settings, checked, as_json=options.json)
