"""`factwire publish`: publish one fact, optionally under a condition, and retry until the result is known."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from factwire.cli.arguments import Parser, add_json, add_url, bounded
from factwire.cli.client import log_of
from factwire.cli.exit_codes import Exit, Stopped
from factwire.cli.output import Printer
from factwire.client import Json, NewFact
from factwire.settings import Settings

EXAMPLE = """factwire publish shop OrderPlaced '{"total": 12.5}' --aggregate-id order-1 \\
    --fail-if-match '{"types": ["OrderPlaced"], "aggregate_ids": ["order-1"]}'"""


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=publish)
    parser.add_argument("namespace")
    parser.add_argument("type")
    parser.add_argument("payload", nargs="?", default="-", help="JSON, @FILE, or - for standard input (default: -)")
    parser.add_argument("--id", help="a UUID of the fact (default: a new one)")
    parser.add_argument(
        "--version", type=bounded(1, 2**31 - 1, whole=True), help="of the payload's schema (default: 1)"
    )
    parser.add_argument(
        "--aggregate-id", action="append", default=[], help="id of an aggregate that the fact is about; may be repeated"
    )
    parser.add_argument("--meta", action="append", default=[], metavar="KEY:VALUE", help="may be repeated")
    parser.add_argument("--data-subject", help="the data subject, whose key encrypts the payload")
    parser.add_argument(
        "--fail-if-match",
        action="append",
        default=[],
        metavar="ITEM",
        help="an item that no fact may match, as JSON; may be repeated",
    )
    parser.add_argument(
        "--fail-unless-match",
        action="append",
        default=[],
        metavar="ITEM",
        help="an item that at least one fact must match, as JSON; may be repeated",
    )
    parser.add_argument(
        "--after", help="bound of --fail-if-match: a cursor, a position or the id of a fact (default: the whole log)"
    )
    parser.add_argument(
        "--give-up-seconds",
        type=bounded(0, 3600),
        default=30.0,
        help="how long to retry if the service cannot be reached (default: 30)",
    )
    add_url(parser)
    add_json(parser)


def publish(options: argparse.Namespace, settings: Settings) -> int:

    fact = NewFact(
        options.namespace,
        options.type,
        Json(payload_of(options.payload)),
        id=options.id,
        version=options.version,
        aggregate_ids=options.aggregate_id,
        meta=meta_of(options.meta),
        data_subject=options.data_subject,
    )
    condition = condition_of(options)
    with log_of(settings, give_up_seconds=options.give_up_seconds) as log:
        result = log.publish_all([fact], **condition)
    done = "was published before" if result.replayed else "published"
    text = f"{done} at position {result.position}, cursor {result.cursor}, id {result.facts[0].id}"
    members = dataclasses.asdict(result)
    del members["replayed"]
    Printer(as_json=options.json).result(members, text)
    return Exit.DONE


def condition_of(options: argparse.Namespace) -> dict[str, Any]:
    """The condition, empty without one. Raises Stopped."""
    condition: dict[str, Any] = {}
    for name in ("fail_if_match", "fail_unless_match"):
        if given := getattr(options, name):
            condition[name] = [item_of(text, f"--{name.replace('_', '-')}") for text in given]
    if options.after is not None:
        if not options.fail_if_match:
            raise Stopped("--after is the bound of --fail-if-match: give that as well", Exit.USAGE)
        condition["after"] = options.after
    return condition


def payload_of(given: str) -> str:
    """Payload from an argument, a file or standard input. Raises Stopped if it is not JSON.

    It is checked because it is inserted into the JSON of the request.
    """
    if given == "-":
        if sys.stdin.isatty():
            print("factwire: reading the payload from standard input; end it with Ctrl-D", file=sys.stderr)
        payload = sys.stdin.buffer.read()
    elif given.startswith("@"):
        payload = content_of(Path(given[1:]))
    else:
        payload = given.encode("utf-8", "surrogateescape")
    if not payload.strip():
        raise Stopped("the payload is empty: give JSON as an argument, @FILE or standard input", Exit.USAGE)
    try:
        text = payload.decode()
        json.loads(text)
    except ValueError as error:
        hint = "" if payload[:1] in b'{["' else """; a text has quotes of its own, as in '"hello"'"""
        raise Stopped(f"the payload is not JSON: {error}{hint}", Exit.USAGE) from None
    return text


def content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Stopped(f"{path}: {error.strerror}", Exit.USAGE) from None


def item_of(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Stopped(f"{option} is not JSON: {error}", Exit.USAGE) from None


def meta_of(given: list[str]) -> dict[str, str | list[str]]:
    meta: dict[str, list[str]] = {}
    for text in given:
        key, colon, value = text.partition(":")
        if not colon:
            raise Stopped(f"--meta: expected KEY:VALUE, not {text}", Exit.USAGE)
        meta.setdefault(key, []).append(value)
    return dict(meta)
