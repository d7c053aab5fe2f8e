"""`python -m vtrack`."""

import sys

from vtrack.cli.main import main

sys.exit(main())
