"""What was measured at each size, by name: the service, its floor where it has one, and their ratio."""

import re
from typing import Any

from bench.report import Result, figure_text

Figure = dict[str, float]


def figures_of(results: list[Result], page_milliseconds: dict[str, float]) -> dict[str, Figure]:
    """Name and unit of each figure, as `name, unit`. CPU is that of the server without PostgreSQL's."""
    figures: dict[str, Figure] = {
        f"A page of 100, {name}, ms": {"service": milliseconds} for name, milliseconds in page_milliseconds.items()
    }
    for result in (result.as_json() for result in results):
        for measure in result["measures"]:
            sides = {side: measure[side] for side in ("service", "floor", "ratio") if measure[side] is not None}
            figures[f"{result['scenario']}: {measure['name']}, {measure['unit']}"] = sides
        cpu = _cpu(result)
        if cpu:
            figures[f"{result['scenario']}: CPU, µs"] = cpu
    return figures


def table(sizes: dict[str, dict[str, Figure]]) -> str:
    """A Markdown table; the ratio to the floor stands in parentheses."""
    lines = ["| | " + " | ".join(re.sub(r"\B(?=(\d{3})+\b)", " ", size) for size in sizes) + " |"]
    lines.append("| --- |" + " ---: |" * len(sizes))
    for name in next(iter(sizes.values())):
        cells = [_text(figures[name]) for figures in sizes.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cpu(result: dict[str, Any]) -> Figure:
    for name, service in result["service_details"].items():
        if name.startswith("server_cpu_us_per_"):
            floor = result["floor_details"].get(name)
            return {"service": service, "floor": floor, "ratio": service / floor} if floor else {"service": service}
    return {}


def _text(figure: Figure) -> str:
    ratio = f" ({figure['ratio']:.2f})" if "ratio" in figure else ""
    return figure_text(figure["service"]) + ratio
