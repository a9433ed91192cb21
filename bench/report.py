"""What the scenarios measured: the table for people, the JSON for programs."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from bench.measuring import Measure, Sample
from bench.site import Scenario, Site

_HEADINGS = (
    "scenario",
    "measure",
    "service",
    "floor",
    "ratio",
    "CPU µs: service + PostgreSQL",
    "CPU µs: floor + PostgreSQL",
)


@dataclass(frozen=True, slots=True)
class Result:
    """All samples of one scenario, in the order in which they were taken: service, floor, service, floor …"""

    scenario: Scenario
    service: list[Sample]
    floor: list[Sample]

    def as_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario.name,
            "measures": [self._measure(measure) for measure in self.scenario.measures],
            "service_details": _medians([sample.details for sample in self.service]),
            "floor_details": _medians([sample.details for sample in self.floor]),
        }

    def _measure(self, measure: Measure) -> dict[str, Any]:
        service = [sample.values[measure.name] for sample in self.service]
        floor = [sample.values[measure.name] for sample in self.floor]
        return {
            **asdict(measure),
            "service": median(service),
            "floor": median(floor),
            "ratio": median(service) / median(floor) if median(floor) else None,
            "service_samples": service,
            "floor_samples": floor,
        }


async def measured(site: Site, scenario: Scenario) -> Result:
    """Service and floor take turns, so that a machine that slows down slows both."""
    result = Result(scenario, [], [])
    started_at = perf_counter()
    for _ in range(site.options.repeat):
        result.service.append(await scenario.service(site))
        result.floor.append(await scenario.floor(site))
    print(f"{perf_counter() - started_at:6.1f} s  {scenario.name}", file=sys.stderr, flush=True)
    return result


def table(results: list[Result]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    rows = [_HEADINGS, *(row for result in results for row in _rows(result.as_json()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["| " + " | ".join(_align(row, widths)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def write_json(path: Path, environment: dict[str, Any], results: list[Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"environment": environment, "results": [result.as_json() for result in results]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for index, measure in enumerate(result["measures"]):
        arrow = " (lower is better)" if measure["better"] == "lower" else ""
        rows.append(
            (
                result["scenario"] if index == 0 else "",
                f"{measure['name']}, {measure['unit']}{arrow}",
                figure_text(measure["service"]),
                figure_text(measure["floor"]),
                "" if measure["ratio"] is None else f"{measure['ratio']:.2f}",
                _cpu(result["service_details"]) if index == 0 else "",
                _cpu(result["floor_details"]) if index == 0 else "",
            )
        )
    return rows


def _cpu(details: dict[str, float]) -> str:
    server = [value for name, value in details.items() if name.startswith("server_cpu_us_per_")]
    postgres = [value for name, value in details.items() if name.startswith("postgres_cpu_us_per_")]
    return f"{server[0]:.1f} + {postgres[0]:.1f}" if server and postgres else ""


def _align(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if index < 2 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def figure_text(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.2f}"


def _medians(details: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(sample[name] for sample in details) for name in details[0]} if details else {}
