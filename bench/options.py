"""The command line of the bench."""

import argparse
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Options:
    only: str
    seconds: float
    warm_up_seconds: float
    repeat: int
    facts: int
    streams_max: int
    fan_out_streams: tuple[int, ...]
    idle_streams: int
    herd_streams: int
    idle_seconds: float
    results: Path
    worked_facts: int = 40_000
    waiting_claims: int = 1_000
    work: bool = False


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios whose name contains this text")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each timed phase (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="phases of each side; the median counts (default: 5)")
    parser.add_argument("--facts", type=int, default=200_000, help="length of the history that is read")
    parser.add_argument("--work", action="store_true", help="only the scenarios of subscriptions")
    parser.add_argument("--quick", action="store_true", help="a smoke run under a minute: its figures mean nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    given = parser.parse_args(arguments)
    if given.quick:
        return Options(given.only, 0.4, 0.2, 1, 5_000, 100, (100,), 200, 200, 0.5, given.results, 2000, 50, given.work)
    return Options(
        only=given.only,
        seconds=given.seconds,
        warm_up_seconds=1.0,
        repeat=given.repeat,
        facts=given.facts,
        streams_max=500,
        fan_out_streams=(100, 500, 1_000),
        idle_streams=9_000,
        herd_streams=2_000,
        idle_seconds=15.0,
        work=given.work,
        results=given.results,
    )
