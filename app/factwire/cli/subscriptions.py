"""`factwire subscriptions`: create, show, pause, reset and delete subscriptions, and their parked facts."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from factwire.cli.arguments import Commands, Parser, Run, add_command, add_filters, add_json, add_url, bounded
from factwire.cli.client import log_of
from factwire.cli.exit_codes import Exit, Stopped
from factwire.cli.filter_items import query_of
from factwire.cli.output import Printer
from factwire.client import Factwire
from factwire.domain.subscription import ACK_TIMEOUT_SECONDS_MAX, ATTEMPTS_MAX, IN_FLIGHT_MAX, OnFailure, Ordering
from factwire.settings import Settings

EXAMPLE = "factwire subscriptions show billing"
RULES = ("ordering", "ack_timeout_seconds", "max_attempts", "on_failure", "in_flight_max")

Command = Callable[[Factwire, Printer, argparse.Namespace], None]


def add_arguments(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    example = "factwire subscriptions create billing --namespace shop --type OrderPaid --start head"
    creating = add(commands, "create", "create a subscription, or bring it into this form", example, create)
    add_filters(creating)
    creating.add_argument(
        "--start", help="start, head, a cursor, a position, the id of a fact, or a time; on creation (default: head)"
    )
    creating.add_argument("--ordering", choices=list(Ordering), help="default: aggregate")
    add_rules(creating)
    example = "factwire subscriptions change billing --max-attempts 10"
    changing = add(commands, "change", "change what is given, and leave everything else", example, change)
    add_filters(changing)
    changing.set_defaults(ordering=None)
    add_rules(changing)
    listing = add_command(
        commands, "list", "print all subscriptions", "factwire subscriptions list --json", running(list_all)
    )
    add_common(listing)
    add(commands, "show", "print one subscription", EXAMPLE, show)
    add(commands, "parked", "print the parked facts", "factwire subscriptions parked billing", print_parked)
    add_resolving(commands, "replay", "hand out parked facts again")
    add_resolving(commands, "discard", "give up parked facts")
    example = "factwire subscriptions reset billing start"
    resetting = add(commands, "reset", "begin again at another place", example, reset)
    resetting.add_argument("to", help="start, head, a cursor, a position, the id of a fact, or a time")
    example = "factwire subscriptions pause billing --reason 'the bank is closed'"
    pausing = add(commands, "pause", "hand out no more facts", example, pause)
    pausing.add_argument("--reason", default="", help="for people")
    add(commands, "resume", "hand out facts again", "factwire subscriptions resume billing", resume)
    example = "factwire subscriptions delete billing"
    add(commands, "delete", "delete a subscription with all that is open in it", example, delete)


def add_resolving(commands: "Commands[Parser]", name: str, summary: str) -> None:
    """Add a command for parked facts, which must say which it means."""
    parser = add(commands, name, summary, f"factwire subscriptions {name} billing --aggregate-id order-1", resolve)
    parser.set_defaults(operation=name)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--position", type=int, action="append", help="the fact at this position; may be repeated")
    which.add_argument("--aggregate-id", help="the facts of this aggregate")
    which.add_argument("--all", action="store_true", help="all of them")


def add_rules(parser: Parser) -> None:
    parser.add_argument("--ack-timeout-seconds", type=bounded(1, ACK_TIMEOUT_SECONDS_MAX), help="default: 30")
    parser.add_argument("--max-attempts", type=bounded(1, ATTEMPTS_MAX, whole=True), help="default: 5")
    parser.add_argument("--on-failure", choices=list(OnFailure), help="default: park")
    parser.add_argument("--in-flight-max", type=bounded(1, IN_FLIGHT_MAX, whole=True), help="default: 1000")


def add(commands: "Commands[Parser]", name: str, summary: str, example: str, command: Command) -> Parser:
    """Add a command for one subscription."""
    parser = add_command(commands, name, summary, example, running(command))
    parser.add_argument("name", help="the name of the subscription")
    add_common(parser)
    return parser


def add_common(parser: Parser) -> None:
    add_url(parser)
    add_json(parser)


def running(command: Command) -> Run:
    def run(options: argparse.Namespace, settings: Settings) -> int:
        with log_of(settings) as log:
            command(log, Printer(as_json=options.json), options)
        return Exit.DONE

    return run


def create(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    body = {"query": {"items": query_of(options) or []}} | rules_of(options)
    if options.start is not None:
        body["start"] = options.start
    print_status(printer, ask(log, "PUT", path_of(options), body))


def change(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    items = query_of(options)
    body = rules_of(options) | ({"query": {"items": items}} if items else {})
    print_status(printer, ask(log, "PATCH", path_of(options), body))


def rules_of(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in RULES if getattr(options, name) is not None}


def list_all(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    after = ""
    while after is not None:
        page = log.request("GET", "/v1/subscriptions", params={"after": after, "limit": 100}).json()
        for status in page["subscriptions"]:
            print_status(printer, status)
        after = page["next"]


def show(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    print_status(printer, ask(log, "GET", path_of(options)))


def print_parked(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    after = 0
    while after is not None:
        page = log.request("GET", f"{path_of(options)}/parked", params={"after": after}).json()
        for parked in page["facts"]:
            fact = parked["fact"]
            ids = " ".join(fact["aggregate_ids"])
            text = f"{fact['position']:>8}  {parked['parked_at'][:19]}  {fact['namespace']}/{fact['type']}  {ids}  "
            text += (
                f"attempts {parked['attempts']}, {parked['held_behind']} behind it, {parked['reason'] or 'no reason'}"
            )
            printer.result(parked, text)
        after = page["next"]


def resolve(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    """Replay or discard parked facts. All are more than one request may change."""
    body: dict[str, Any] = {"positions": options.position, "aggregate_id": options.aggregate_id}
    given = {name: value for name, value in body.items() if value is not None}
    total = 0
    while True:
        facts = ask(log, "POST", f"{path_of(options)}/parked/{options.operation}", given)["facts"]
        total += facts
        if given or not facts:
            break
    printer.result({"facts": total}, f"{total} facts")


def reset(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    print_status(printer, ask(log, "POST", f"{path_of(options)}/reset", {"to": options.to}))


def pause(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    print_status(printer, ask(log, "POST", f"{path_of(options)}/pause", {"reason": options.reason}))


def resume(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    print_status(printer, ask(log, "POST", f"{path_of(options)}/resume"))


def delete(log: Factwire, printer: Printer, options: argparse.Namespace) -> None:
    printer.result(ask(log, "DELETE", path_of(options)), f"{options.name} is deleted")


def ask(log: Factwire, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    content = None if body is None else msgspec.json.encode(body)
    answer: dict[str, Any] = log.request(method, path, content=content).json()
    return answer


def path_of(options: argparse.Namespace) -> str:
    if not options.name:
        raise Stopped("expected the name of a subscription", Exit.USAGE)
    return f"/v1/subscriptions/{quote(options.name, safe='')}"


def print_status(printer: Printer, status: Mapping[str, Any]) -> None:
    """Print a subscription: on one line for people."""
    lag = status["lag"]
    behind = "caught up" if lag["caught_up"] else f"{lag['positions']} positions behind"
    seconds = "" if not lag["seconds"] else f", oldest open fact {lag['seconds']:.0f} s old"
    counts = ", ".join(
        f"{status[name]} {name.replace('_', ' ')}"
        for name in ("in_flight", "ready", "held", "delayed", "parked")
        if status[name]
    )
    reason = f" ({status['reason']})" if status["reason"] else ""
    limited = ", limited" if status["limited"] else ""
    text = f"{status['name']}  {status['state']}{reason}  {status['cursor']}  {behind}{seconds}{limited}"
    printer.result(dict(status), f"{text}  {counts or 'nothing open'}")
