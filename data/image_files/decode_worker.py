"""A process that looks into pictures and decodes them, and knows nothing of torch, so that it starts fast.

    python -m data.image_files.decode_worker SIZE CHANNELS BACKGROUND WHOLE REAL SECONDS MEMORY

reads what is asked of it from its standard input, a line for each file and an empty one at the end of several:

    read PATH FRAME             a picture of a file
    probe PATH ALL BRIGHTNESS   what the file holds, see `data.image_files.probe`

with paths in hexadecimal and levels of white as numbers or None, and answers each on its standard output: whether it
could be done, how many bytes follow, and the pixels, or the probe as JSON, or else the reason. It ends with its input,
whoever closes it, and when a file takes longer than SECONDS; one for which MEMORY bytes are too few is refused.
`decoders` starts and ends it.
"""

import json
import os
import sys
from pathlib import Path

from data.image_files.levels import White
from data.image_files.probe import probe
from data.image_files.reader import Opened
from data.system.errors import UserError
from data.system.worker import reply, serving, set_alarm


class _Files:
    """Answers what is asked of files; of one with many pictures the last stays open, for the next is near.

    Args:
        size: side of the pictures.
        channels: 1 or 3.
        background: colour behind transparent pixels.
        white: which level of more than 8 bits is white.
    """

    def __init__(self, size: int, channels: int, background: str, white: White) -> None:
        self.how = size, channels, background, white
        self.opened: Opened | None = None
        self.frame = -1

    def answer(self, line: bytes) -> bytes:
        """Raises `UserError` where there is none."""
        verb, name, *words = line.decode().split()
        path = Path(os.fsdecode(bytes.fromhex(name)))
        if verb == "probe":
            return json.dumps(probe(path, words[0] == "True", words[1] == "True")).encode()
        frame = int(words[0])
        if self.opened is None or self.opened.path != path or frame <= self.frame:
            self.close()
            self.opened = Opened(path)
        self.frame = frame
        return self.opened.pixels(*self.how, frame).tobytes()

    def close(self) -> None:
        """Closes what is open."""
        if self.opened is not None:
            self.opened.close()
        self.opened = None


def _serve(files: _Files, seconds: float, memory: int) -> None:
    """All that such a process does."""
    with serving(memory) as answers:
        batch: list[bytes] = []
        for line in sys.stdin.buffer:
            if line.strip():
                batch.append(line)
                continue
            for asked in batch:
                set_alarm(seconds)
                try:
                    good, content = True, files.answer(asked)
                except UserError as error:
                    good, content = False, str(error).encode(errors="surrogatepass")
                set_alarm(0)
                reply(answers, good, content)
            batch = []


if __name__ == "__main__":
    size, channels, background, whole, real, seconds, memory = sys.argv[1:]
    white = White(*(None if level == "None" else float(level) for level in (whole, real)))
    _serve(_Files(int(size), int(channels), background, white), float(seconds), int(memory))
