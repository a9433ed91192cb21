"""Print a lock file, read from standard input, as a layer on another one: what that has already is left out.

Usage: python locks/layer.py LOWER.txt < compiled.txt
"""

import re
import sys
from pathlib import Path

ENTRY = re.compile(r"^[a-z0-9-]+==.*(?:\n[ ].*)*", re.MULTILINE)
INCLUDED = re.compile(r"^-r (\S+)$", re.MULTILINE)


def entries(path: Path) -> set[str]:
    """The entries of a lock file and of the layers below it, each with its hashes."""
    text = path.read_text()
    below = [entries(path.parent / name) for name in INCLUDED.findall(text)]
    return set(ENTRY.findall(text)).union(*below)


def main(lower: Path) -> None:
    here = ENTRY.findall(sys.stdin.read())
    missing = entries(lower) - set(here)
    if missing:
        sys.exit(f"{lower} has what this layer has not, or in another release: {sorted(missing)[0].partition(' ')[0]}")
    print(f"-r {lower.name}")
    print("\n".join(entry for entry in here if entry not in entries(lower)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
