"""`factwire read`: print facts of the log, page by page, or a single fact."""

import argparse
import json
from typing import Any

from factwire.cli.arguments import Parser, add_filters, add_json, add_url, bounded, filters_of
from factwire.cli.client import log_of, report
from factwire.cli.exit_codes import Exit, Stopped
from factwire.cli.output import Printer
from factwire.domain.position import FACT_ID
from factwire.settings import Settings

RETRY_SECONDS = 10.0
LIMIT = 100


EXAMPLE = "factwire read --aggregate-id order-1 --newest"


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=read)
    parser.add_argument("fact", nargs="?", help="id or position of a single fact, instead of filters")
    add_filters(parser)
    parser.add_argument(
        "--after", help="exclusive: a cursor, a position, the id of a fact, start or head (default: start)"
    )
    parser.add_argument("--until", help="inclusive: a cursor, a position or the id of a fact (default: the head)")
    parser.add_argument("--newest", action="store_true", help="newest facts first")
    parser.add_argument(
        "--limit", type=bounded(1, 10**9, whole=True), help=f"facts at most; {LIMIT}. See export for all"
    )
    add_url(parser)
    add_json(parser)


def read(options: argparse.Namespace, settings: Settings) -> int:
    printer = Printer(as_json=options.json)
    with log_of(settings, give_up_seconds=RETRY_SECONDS) as log:
        parameters = parameters_of(options)
        if options.fact is not None:
            if parameters or filters_of(options) or options.limit:
                raise Stopped("give a fact or filters, and not both", Exit.USAGE)
            printer.fact(log.request("GET", f"/v1/facts/{path_of(options.fact)}").text)
            return Exit.DONE
        left = int(options.limit or LIMIT)
        while left:
            pairs = [*filters_of(options), *parameters.items()]
            response = log.request("GET", "/v1/facts", params=pairs)
            lines, page = split_page(response.text)
            for line in lines[:left]:
                printer.fact(line)
            left -= min(left, len(lines))
            if page["caught_up"]:
                break
            if not left and options.limit is None:
                report(f"{LIMIT} facts were printed, and there may be more: use --limit, or export")
            parameters |= {"until": page["until"]} if options.newest else {"after": page["cursor"]}
    return Exit.DONE


def path_of(fact: str) -> str:
    if fact.isdecimal():
        return f"at/{fact}"
    if not FACT_ID.fullmatch(fact):
        reason = (
            f"{fact} is neither an id nor a position of a fact; use --aggregate-id to find the facts about an aggregate"
        )
        raise Stopped(reason, Exit.USAGE)
    return fact


def parameters_of(options: argparse.Namespace) -> dict[str, str]:
    given = {"after": options.after, "until": options.until, "order": "desc" if options.newest else None}
    return {name: value for name, value in given.items() if value is not None}


def split_page(page: str) -> tuple[list[str], dict[str, Any]]:
    """Facts of a page, each as the exact text that was sent, and the other members of the page."""
    decoder, lines, at = json.JSONDecoder(), [], len('{"facts":[')
    while page[at] != "]":
        _, end = decoder.raw_decode(page, at)
        lines.append(page[at:end])
        at = end + 1 if page[end] == "," else end
    return lines, json.loads("{" + page[at + 2 :])
