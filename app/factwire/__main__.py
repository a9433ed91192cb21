"""python -m factwire"""

import sys

try:
    from factwire.cli.main import main

    sys.exit(main())
except KeyboardInterrupt:  # also while modules are imported
    sys.exit(130)
