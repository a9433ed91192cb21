"""The command line of the peers."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.options import Options
from bench.processes import ROOT

_RESULTS = ROOT / "bench" / "results" / "peers-latest.json"
_WARM_UP_SECONDS = 0.5
SUBSCRIBERS = 100


@dataclass(frozen=True, slots=True)
class PeerOptions:
    only: str
    seconds: float
    facts: int
    results: Path
    warm_up_seconds: float = _WARM_UP_SECONDS

    def of_scenarios(self) -> Options:
        """The same lengths for the scenarios of service and floor."""
        return Options(
            only="",
            seconds=self.seconds,
            warm_up_seconds=self.warm_up_seconds,
            repeat=1,
            facts=self.facts,
            streams_max=SUBSCRIBERS,
            fan_out_streams=(SUBSCRIBERS,),
            idle_streams=0,
            herd_streams=0,
            idle_seconds=0.0,
            results=self.results,
        )


def parse(arguments: list[str] | None = None) -> PeerOptions:
    parser = argparse.ArgumentParser("python -m bench.peers", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAME", help="only the stores whose name contains this text")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each timed phase (default: %(default)s)")
    parser.add_argument(
        "--facts", type=_thousands, default=100_000, help="length of the history (default: %(default)s)"
    )
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where the JSON goes")
    given = parser.parse_args(arguments)
    return PeerOptions(given.only, given.seconds, given.facts, given.results)


def _thousands(text: str) -> int:
    facts = int(text)
    if facts <= 0 or facts % 1000:
        raise argparse.ArgumentTypeError("a positive multiple of 1000")
    return facts
