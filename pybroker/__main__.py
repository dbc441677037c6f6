"""`python -m pybroker` is the command `pybroker`."""

import sys

from .broker.commands.main import main

sys.exit(main())
