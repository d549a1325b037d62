"""The command line.

Exit codes: 0 success, 1 a check failed or the program failed, 2 usage or configuration error.
"""

from registry_proxy.commands.group import main

__all__ = ["main"]
