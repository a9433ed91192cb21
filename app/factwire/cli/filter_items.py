"""Items of a query from the filter options of a command."""

import argparse
import json
from typing import Any

from factwire.cli.arguments import filters_of
from factwire.cli.exit_codes import Exit, Stopped


def query_of(options: argparse.Namespace) -> list[dict[str, Any]] | None:
    """Items of a query, from the filter options; None if there is no filter. Raises Stopped."""
    pairs = filters_of(options)
    if options.query is None:
        names = {"namespace": "namespaces", "type": "types", "aggregate_id": "aggregate_ids"}
        item: dict[str, Any] = {}
        for name, value in pairs:
            if name == "meta":
                key, _, value = value.partition(":")
                item.setdefault("meta", {}).setdefault(key, []).append(value)
            else:
                item.setdefault(names.get(name, name), []).append(value)
        return [item] if item else None
    if len(pairs) > 1:
        raise Stopped("--query takes the place of the other filters: give it alone", Exit.USAGE)
    try:
        items = json.loads(options.query)["items"]
    except (ValueError, TypeError, KeyError):
        items = None
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise Stopped('--query: expected {"items": [ … ]}', Exit.USAGE)
    return items or None
