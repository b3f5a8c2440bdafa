"""Floor 7: the command line. Results go to stdout, talk to stderr; exit codes as in `esa --help`.

Each command is a module that offers `command`; it is imported when it is called, so that `esa --help` stays quick.
"""

from esa.cli.program import main

__all__ = ["main"]
