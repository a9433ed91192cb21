"""`python -m bench.growth.plot_kinds RESULTS.json PICTURE.png`: each figure over the shape of the log, by reader."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from textwrap import fill

from matplotlib import pyplot

_COLUMNS = 4


def main() -> None:
    results, picture = map(Path, sys.argv[1:])
    sizes: dict[str, dict[str, dict[str, float]]] = json.loads(results.read_text(encoding="utf-8"))["sizes"]
    lines: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for name in next(iter(sizes.values())):
        reader, _, what = name.partition(": ")
        lines[what][reader.rpartition(" by ")[2]] = [figures[name]["service"] for figures in sizes.values()]
    shapes = [shape.replace(", ", "\n") for shape in sizes]
    rows = -(-len(lines) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(4.2 * _COLUMNS, 2.8 * rows), squeeze=False)
    for axis, (what, by_reader) in zip(axes.flat, lines.items(), strict=False):
        title, _, unit = what.rpartition(", ")
        for reader, values in by_reader.items():
            axis.plot(shapes, values, "o-", label=reader)
        axis.set_title(fill(title or what, 40), fontsize=8)
        axis.tick_params(axis="x", labelsize=6)
        axis.set(ylabel=unit, ylim=(0, None))
    for axis in axes.flat[len(lines) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles=handles, labels=labels, loc="lower right", title="a key that reads")
    figure.tight_layout()
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main()
