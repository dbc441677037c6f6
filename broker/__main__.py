"""`python -m broker` is `pybroker`."""

import sys

from .cli import main

sys.exit(main())
