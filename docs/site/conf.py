"""The site made of the pages, which stay plain Markdown: what stands here is what only a site needs."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

# The table of contents, which the pages leave to the reader of a repository to find.
CONTENTS = {
    "README": """
```{toctree}
:hidden:
:caption: Use it

docs/tutorial
docs/concepts
docs/conditions
docs/subscriptions
docs/protocol
docs/problems
docs/cli
docs/explorer
docs/python
docs/typescript
docs/testing
docs/sdks
docs/clients
docs/recipes/README
```

```{toctree}
:hidden:
:caption: Run it

docs/operations
docs/copying
deploy/README
docs/access
docs/access-tokens
docs/edge
docs/erasure
docs/reliability
docs/finding
docs/performance
```

```{toctree}
:hidden:
:caption: Choose it, change it

docs/comparison
CONTRIBUTING
CHANGELOG
SECURITY
docs/decisions/README
```
""",
    "docs/decisions/README": """
```{toctree}
:hidden:
:glob:

0*
```
""",
}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)\)")

project = "Factwire"
author = "The Factwire authors"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "deploy/**.md"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # JSON with an ellipsis is shown without colours
nitpicky = True
html_theme = "furo"
html_title = "Factwire"
html_favicon = str(ROOT / "app" / "factwire" / "ui" / "icon.svg")
html_theme_options: dict[str, Any] = {"footer_icons": []}
html_show_sphinx = False


def setup(app: Any) -> None:
    app.connect("source-read", read)


def read(app: Any, page: str, source: list[str]) -> None:
    """A page as the site has it: links to files become downloads, those to folders only their names."""
    folder = Path(app.env.doc2path(page)).parent

    def told(link: re.Match[str]) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    source[0] = LINK.sub(told, source[0]) + CONTENTS.get(page, "")
