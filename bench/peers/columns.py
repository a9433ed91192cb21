"""The columns of the table, and a row of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Column(StrEnum):
    ONE_CLIENT = "1 client, 1 fact per request"
    MANY_CLIENTS = "32 clients, 1 fact per request"
    BATCHES = "100 facts per request (1 client; 4 clients)"
    HISTORY = "history (read everything)"
    FAN_OUT = "fan-out (deliveries/s, 100 streams/subscribers)"
    LIVE = "live publish→delivery at 100/s p50/p99 ms"


_JOINED_BY = {Column.MANY_CLIENTS: " to ", Column.BATCHES: "; ", Column.LIVE: " / "}


@dataclass(slots=True)
class Row:
    """Figures by column, and the reason why others are not there; `missing` is the reason for the whole row."""

    store: str
    figures: dict[Column, list[float]] = field(default_factory=dict)
    not_measured: dict[Column, str] = field(default_factory=dict)
    failed: dict[Column, str] = field(default_factory=dict)
    missing: str = ""
    notes: str = ""

    def cells(self) -> list[str]:
        if self.missing:
            return [self.store, f"missing: {self.missing}", *[""] * (len(Column) - 1)]
        return [self.store, *(self._cell(column) for column in Column)]

    def remarks(self) -> list[str]:
        if self.missing:
            return []
        reasons = {
            **(self.not_measured if len(self.not_measured) < len(Column) - 1 else {}),
            **{column: f"failed: {why}" for column, why in self.failed.items()},
        }
        lines = [f"- {self.store}: {self.notes}"] if self.notes else []
        return lines + [f"- {self.store}, {column.value}: {why}" for column, why in reasons.items()]

    def as_json(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "missing": self.missing,
            "notes": self.notes,
            "figures": {column.value: figures for column, figures in self.figures.items()},
            "not_measured": {column.value: why for column, why in self.not_measured.items()},
            "failed": {column.value: why for column, why in self.failed.items()},
        }

    def _cell(self, column: Column) -> str:
        if column in self.failed:
            return "failed"
        if column not in self.figures:
            return "-"
        form = _milliseconds if column is Column.LIVE else _rate
        return _JOINED_BY.get(column, "").join(form(value) for value in self.figures[column])


def table(rows: list[Row]) -> str:
    """A Markdown table, and below it what is missing, failed or only half comparable."""
    cells = [["store", *(column.value for column in Column)], *(row.cells() for row in rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    lines.insert(1, "| --- |" + " ---: |" * len(Column))
    remarks = [remark for row in rows for remark in row.remarks()]
    return "\n".join([*lines, "", *remarks])


def _rate(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _milliseconds(value: float) -> str:
    return f"{value:.2f}"
