"""`factwire read`: facts of the log, page by page, or a single one."""

import argparse
import json
from typing import Any

from app.commands.exits import Exit
from app.commands.parsing import Commands, Parser, add_command, add_filters, add_json, add_url, bounded, filters_of
from app.settings import Settings

RETRY_SECONDS = 10.0


def add_to(commands: "Commands[Parser]") -> None:
    parser = add_command(
        commands, "read", "print facts of the log, a line each", "factwire read --aggregate-id order-1 --newest", read
    )
    parser.add_argument("fact", nargs="?", help="the id or the position of a single fact, instead of filters")
    add_filters(parser)
    parser.add_argument("--after", help="exclusive: a cursor, a position, the id of a fact, start or head")
    parser.add_argument("--until", help="inclusive: the same; the head without it")
    parser.add_argument("--newest", action="store_true", help="the newest first")
    parser.add_argument(
        "--limit", type=bounded(1, 10**9, whole=True), default=100, help="facts at most; 100. See export for all"
    )
    add_url(parser)
    add_json(parser)


def read(options: argparse.Namespace, settings: Settings) -> int:
    from app.commands.printing import Printer
    from app.commands.service import check, client_of, persist

    printer = Printer(as_json=options.json)
    with client_of(settings) as client:
        if options.fact is not None:
            by = "at/" if options.fact.isdecimal() else ""
            printer.fact(check(client.get(f"/v1/facts/{by}{options.fact}")).text)
            return Exit.DONE
        left = int(options.limit)
        parameters = parameters_of(options)
        while left:
            pairs = [*filters_of(options), *parameters.items()]
            response = persist(lambda pairs=pairs: check(client.get("/v1/facts", params=pairs)), seconds=RETRY_SECONDS)  # type: ignore[misc]
            lines, page = parted(response.text)
            for line in lines[:left]:
                printer.fact(line)
            left -= min(left, len(lines))
            if page["caught_up"]:
                break
            parameters |= {"until": page["until"]} if options.newest else {"after": page["cursor"]}
    return Exit.DONE


def parameters_of(options: argparse.Namespace) -> dict[str, str]:
    given = {"after": options.after, "until": options.until, "order": "desc" if options.newest else None}
    return {name: value for name, value in given.items() if value is not None}


def parted(page: str) -> tuple[list[str], dict[str, Any]]:
    """The facts of a page, each as it was sent, and the other members of the page."""
    decoder, lines, at = json.JSONDecoder(), [], len('{"facts":[')
    while page[at] != "]":
        _, end = decoder.raw_decode(page, at)
        lines.append(page[at:end])
        at = end + 1 if page[end] == "," else end
    return lines, json.loads("{" + page[at + 2 :])
