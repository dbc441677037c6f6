"""The configuration: `load` reads a file into `Settings`, `describe` says what it would serve.

>>> from pathlib import Path
>>> from pybroker.broker.config import load
>>> settings = load(Path("conf/nanomq.conf"))
"""

from .describe import describe
from .errors import ConfigError, Problem
from .load import load
from .schema import SCHEMA
from .settings import ConfigWarning, Settings

__all__ = ["SCHEMA", "ConfigError", "ConfigWarning", "Problem", "Settings", "describe", "load"]
