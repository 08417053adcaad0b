"""A process that decodes pictures and knows nothing of torch, so that it starts fast; `decoders` starts and ends it.

    python -m data.decoding SIZE CHANNELS BACKGROUND SECONDS MEMORY

reads names of files from its standard input, in hexadecimal lines up to an empty one, and answers each on its standard
output: whether it could be read, how many bytes follow, and the pixels or else the reason. It ends with its input,
whoever closes it, and when a picture takes longer than SECONDS; one for which MEMORY bytes are too few is refused.
"""

import os
import sys
from pathlib import Path

from data.errors import UserError
from data.pictures import read
from data.worker import reply, serving, set_alarm


def _serve(size: int, channels: int, background: str, seconds: float, memory: int) -> None:
    """All that such a process does."""
    with serving(memory) as answers:
        batch: list[Path] = []
        for line in sys.stdin.buffer:
            if line.strip():
                batch.append(Path(os.fsdecode(bytes.fromhex(line.decode()))))
                continue
            for path in batch:
                set_alarm(seconds)
                try:
                    good, content = True, read(path, size, channels, background).tobytes()
                except UserError as error:
                    good, content = False, str(error).encode(errors="surrogatepass")
                set_alarm(0)
                reply(answers, good, content)
            batch = []


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
