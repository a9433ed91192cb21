"""`factwire work`: give each fact of a subscription to a command, and acknowledge it by its exit code."""

import argparse
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

from factwire.cli.arguments import Parser, add_url, bounded
from factwire.cli.client import log_of, report
from factwire.cli.exit_codes import Exit, Stopped, leave
from factwire.client import Claimed, Factwire, Park, Retry
from factwire.domain.subscription import LEASES_MAX
from factwire.settings import Settings

EXAMPLE = "factwire work billing -- ./send-invoice"
PARKS = os.EX_DATAERR
STOP_SECONDS = 10.0


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=work)
    parser.add_argument("name", help="the name of the subscription")
    parser.add_argument(
        "command",
        nargs="+",
        metavar="COMMAND",
        help=f"gets the fact as JSON on standard input: 0 acknowledges it, {PARKS} parks it, others let it come again",
    )
    parser.add_argument("--worker", help="the name of this worker (default: host and process)")
    parser.add_argument(
        "--limit", type=bounded(1, LEASES_MAX, whole=True), default=10, help="facts of one claim (default: 10)"
    )
    parser.add_argument("--until-caught-up", action="store_true", help="stop when there is nothing left to claim")
    add_url(parser)


def work(options: argparse.Namespace, settings: Settings) -> int:
    if shutil.which(options.command[0]) is None:
        raise Stopped(f"{options.command[0]}: no such command", Exit.USAGE)
    signal.signal(signal.SIGTERM, leave)  # so that the facts in hand are released at the exit
    with log_of(settings) as log:
        log.work(
            options.name,
            handler(log, options.command),
            worker=options.worker,
            limit=options.limit,
            until_caught_up=options.until_caught_up,
        )
    return Exit.DONE


def handler(log: Factwire, command: list[str]) -> Callable[[Claimed], None]:
    def handle(claimed: Claimed) -> None:
        environment = {
            **os.environ,
            "FACTWIRE_SUBSCRIPTION": claimed.subscription,
            "FACTWIRE_LEASE": claimed.lease,
            "FACTWIRE_ATTEMPT": str(claimed.attempt),
        }
        # The exact text of the fact: what was parsed may have other spellings of its numbers.
        fact = log.request("GET", f"/v1/facts/at/{claimed.fact.position}").text
        code = run(command, f"{fact}\n", environment)
        if code == PARKS:
            raise Park(f"exit code {code}")
        if code:
            report(f"position {claimed.fact.position}: {command[0]} ended with {code}")
            raise Retry(f"exit code {code}")

    return handle


def run(command: list[str], fact: str, environment: dict[str, str]) -> int:
    """Run a command with a fact, and return its exit code. It ends with this process, and so does all that it began."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, text=True, start_new_session=True)
    try:
        process.communicate(fact)
        return process.returncode
    except BaseException:
        end(process)
        raise


def end(process: "subprocess.Popen[str]") -> None:
    """Stop a command with its process group: it has a moment to end by itself."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
