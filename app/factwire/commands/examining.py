"""`factwire doctor`: check the database and the service, and say what to change."""

import argparse

from factwire.commands.parsing import Commands, Parser, add_command, add_url, bounded
from factwire.settings import Settings

PROCESSES_MAX = 10_000
IDLE_SECONDS_MAX = 3600


def add_to(commands: "Commands[Parser]") -> None:
    parser = add_command(
        commands,
        "doctor",
        "check the database and the service, say what to change",
        "factwire doctor --url https://facts.example --publish-in scratch --seconds 120",
        examine,
    )
    add_url(parser)
    parser.add_argument(
        "--processes",
        type=bounded(1, PROCESSES_MAX, whole=True),
        help="of all replicas together; FACTWIRE_WORKERS without it",
    )
    parser.add_argument("--publish-in", metavar="NAMESPACE", help="publish a few facts there to time their delivery")
    parser.add_argument(
        "--seconds",
        type=bounded(0.001, IDLE_SECONDS_MAX),
        help="also see whether an idle stream stays open for so long",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def examine(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating import doctor

    processes = options.processes or settings.workers
    wanted = doctor.Wanted(processes=processes, publish_in=options.publish_in, idle_seconds=options.seconds)
    return doctor.run(settings, wanted, as_json=options.json)
