"""Progress bars are seen on terminals, whatever those say of themselves."""

import os
import re

import pytest

from data.system.bars import Bar


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no such terminals here")
def test_a_terminal_that_does_not_say_its_size_shows_the_bar():
    ours, theirs = os.openpty()  # of 0 rows and columns
    os.set_blocking(ours, False)
    with os.fdopen(theirs, "w") as terminal:
        with Bar(desc="Looking", total=3, delay=0, mininterval=0, file=terminal) as bar:
            for _ in range(3):
                bar.update()
        shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert re.search(r"Looking: +67%.* 2/3 ", shown)
