"""`python -m bench.growth.plot RESULTS.json PICTURE.png`: each figure over the size of the log, beside its floor."""

import json
import sys
from pathlib import Path
from textwrap import fill

from matplotlib import pyplot

_COLUMNS = 5


def main() -> None:
    results, picture = map(Path, sys.argv[1:])
    sizes: dict[str, dict[str, dict[str, float]]] = json.loads(results.read_text(encoding="utf-8"))["sizes"]
    names = list(next(iter(sizes.values())))
    rows = -(-len(names) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(3.4 * _COLUMNS, 2.6 * rows), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        title, _, unit = name.rpartition(", ")
        for side, style in (("service", "o-"), ("floor", "x:")):
            values = [figures[name].get(side) for figures in sizes.values()]
            if None not in values:
                axis.plot([int(size) for size in sizes], values, style, label=side)
        axis.set_title(fill(title, 40), fontsize=8)
        axis.set(ylabel=unit, xscale="log", ylim=(0, None))
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    figure.legend(handles=axes.flat[3].lines, labels=["service", "floor"], loc="lower right")
    figure.supxlabel("facts in the log")
    figure.tight_layout()
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main()
