"""How a mistake in the words of a command is told: in one line."""

import sys
from typing import NoReturn

from data.errors import say


class Telling:
    """What the parsers of both programs have in common.

    Attributes:
        program: whose command line it is.
        manual: the command that shows all options.
    """

    program: str
    manual: str

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message and exits with code 2."""
        say(f"{self.program}: {' '.join(str(message).split())} (see {self.manual})", sys.stderr)
        raise SystemExit(2)
