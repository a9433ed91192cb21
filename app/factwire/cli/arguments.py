"""Argument parsers of the commands, each with an example in its help, and the options that several commands share."""

import argparse
import math
from collections.abc import Callable

from factwire.cli.exit_codes import Exit, Stopped
from factwire.settings import Settings

Parser = argparse.ArgumentParser
Commands = argparse._SubParsersAction  # the return type of add_subparsers has no public name
Run = Callable[[argparse.Namespace, Settings], int]

FILTERS = ("namespace", "type", "aggregate_id", "any_aggregate_id", "meta")


def add_command(commands: "Commands[Parser]", name: str, summary: str, example: str, run: Run | None = None) -> Parser:
    """Add a command, with its help text and an example of its use."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def add_group(commands: "Commands[Parser]", name: str, summary: str, example: str) -> "Commands[Parser]":
    """Add a command that has subcommands."""
    return add_command(commands, name, summary, example).add_subparsers(required=True, metavar="COMMAND")


def add_url(parser: Parser) -> None:
    parser.add_argument("--url", help="URL of the service (default: FACTWIRE_URL)")


def add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON lines also on a terminal")


def add_filters(parser: Parser) -> None:
    parser.add_argument("--namespace", action="append", default=[], help="any of these; may be repeated")
    parser.add_argument("--type", action="append", default=[], help="any of these; may be repeated")
    parser.add_argument("--aggregate-id", action="append", default=[], help="all of these; may be repeated")
    parser.add_argument("--any-aggregate-id", action="append", default=[], help="any of these; may be repeated")
    parser.add_argument(
        "--meta", action="append", default=[], metavar="KEY:VALUE", help="all of these; may be repeated"
    )
    parser.add_argument("--query", metavar="JSON", help='{"items": […]} in place of the other filters')


def filters_of(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Query parameters of a request, from the filter options."""
    for text in options.meta:
        if ":" not in text:
            raise Stopped(f"--meta: expected KEY:VALUE, not {text}", Exit.USAGE)
    pairs = [(name, value) for name in FILTERS for value in getattr(options, name)]
    return [*pairs, ("query", options.query)] if options.query is not None else pairs


def bounded(least: float, most: float, *, whole: bool = False) -> Callable[[str], float]:
    """Parser of numbers within inclusive bounds."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most or (whole and number != int(number)):
            raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}, not {text}")
        return int(number) if whole else number

    return parse
