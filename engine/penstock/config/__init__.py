"""Config files: Python files that define pipelines and servers, loaded by the command line.

errors       ConfigError: one line that says what is wrong, where, and what to do
blame        from whatever a config file raised to the line of it that is to blame
importing    a file as a module that worker processes can import by name
file         what a loaded file holds
"""

from .errors import ConfigError
from .file import Builder, ConfigFile, HasPipelines, Target, load, parse_target

__all__ = ["Builder", "ConfigError", "ConfigFile", "HasPipelines", "Target", "load", "parse_target"]
