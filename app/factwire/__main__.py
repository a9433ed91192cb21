"""Entry point of `python -m factwire`: the same command line as `factwire`."""

import sys

try:
    from factwire.cli.main import main

    sys.exit(main())
except KeyboardInterrupt:  # also during the imports
    sys.exit(130)
