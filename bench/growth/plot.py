"""`python -m bench.growth.plot RESULTS.json PICTURE.png`: each figure beside what it was at the smallest size."""

import json
import sys
from pathlib import Path

from matplotlib import pyplot

_COLUMNS = 4


def main() -> None:
    results, picture = map(Path, sys.argv[1:])
    sizes: dict[str, dict[str, float]] = json.loads(results.read_text(encoding="utf-8"))["sizes"]
    names = list(next(iter(sizes.values())))
    rows = -(-len(names) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(4 * _COLUMNS, 2.6 * rows), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        title, _, unit = name.rpartition(", ")
        axis.plot([int(size) for size in sizes], [figures[name] for figures in sizes.values()], marker="o")
        axis.set(title=title, ylabel=unit, xscale="log", ylim=(0, None))
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    figure.supxlabel("facts in the log")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main()
