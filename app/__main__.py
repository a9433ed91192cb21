"""python -m app"""

import sys

try:
    from app.cli import main

    sys.exit(main())
except KeyboardInterrupt:  # also while modules are imported
    sys.exit(130)
