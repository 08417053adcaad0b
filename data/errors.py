"""What the user is told when something is wrong: one line, exit code 2, no traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Bad input. Its message is one line: the thing, what is wrong with it, what to do."""


@contextmanager
def told_in_one_line(program: str) -> Iterator[None]:
    """Turns a `UserError`, and what the system refuses, into one line on standard error and exit code 2."""
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # who read the output has gone; what Python still wants to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        thing = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {thing}{error.strerror or error}; choose another place or name", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted; nothing is half-written", file=sys.stderr)
        raise SystemExit(130) from None
