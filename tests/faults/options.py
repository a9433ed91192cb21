"""The command line of the fault suite."""

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    only: str
    seed: int | None
    scale: float
    results: Path | None


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only faults whose name contains this text")
    parser.add_argument("--seed", type=int, help="what the nemeses and clients choose by (default: a new one)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rounds to run (default: all)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the table as JSON, too")
    given = parser.parse_args(arguments)
    return Options(given.only, given.seed, given.scale, given.results)
