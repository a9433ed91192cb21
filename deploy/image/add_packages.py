"""Adds the packages of Debian to a bill of materials, and prints it: add_packages.py BOM PACKAGES.

PACKAGES has a line for each: name, version and architecture, with tabs between them (dpkg-query).
"""

import json
import sys
from pathlib import Path
from urllib.parse import quote


def component(line: str) -> dict[str, str]:
    name, version, architecture = line.split("\t")
    url = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


bill = json.loads(Path(sys.argv[1]).read_text())
bill["components"] += [component(line) for line in Path(sys.argv[2]).read_text().splitlines()]
sys.stdout.write(json.dumps(bill, indent=1) + "\n")
