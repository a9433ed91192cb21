"""What the faults came to: the table for people, the JSON for programs."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.environment import revision
from tests.faults.running import Result

HEADINGS = (
    "fault",
    "rounds",
    "operations",
    "acknowledged",
    "refused",
    "unknown",
    "recovery p50, s",
    "max, s",
    "verdict",
)


def table(results: Sequence[Result]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    rows = [HEADINGS, *map(_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def surroundings(seed: int) -> dict[str, object]:
    """What the results depend on, as it is when the run begins."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"date": date, "revision": revision(), "cores": os.cpu_count(), "seed": seed}


def write_json(path: Path, surroundings: dict[str, object], results: Sequence[Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = surroundings | {"results": [_as_json(result) for result in results]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _as_json(result: Result) -> dict[str, object]:
    members = asdict(result) | {"recovery_p50": result.recovery_p50, "recovery_max": result.recovery_max}
    del members["kept"]
    return members


def _row(result: Result) -> tuple[str, ...]:
    counts = (result.rounds, result.operations, result.acknowledged, result.refused, result.unknown)
    return (
        result.fault,
        *map(str, counts),
        f"{result.recovery_p50:.2f}",
        f"{result.recovery_max:.2f}",
        "failed" if result.failure else "good",
    )
