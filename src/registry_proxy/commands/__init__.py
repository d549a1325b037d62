"""The command line.

Exit codes: 0 all is well, 1 a check found something or the program failed, 2 wrong usage or configuration.
"""

from registry_proxy.commands.app import main

__all__ = ["main"]
