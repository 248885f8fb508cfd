"""`python -m pqmim`: the same as `pqmim`."""

import sys

from pqmim.cli import main

sys.exit(main())
