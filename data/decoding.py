"""A process that decodes pictures and knows nothing of torch, so that it starts fast; `decoders` starts and ends it.

    python -m data.decoding SIZE CHANNELS BACKGROUND SECONDS MEMORY

reads names of files from its standard input, in hexadecimal lines up to an empty one, and answers each on its standard
output: whether it could be read, how many bytes follow, and the pixels or else the reason. It ends with its input,
whoever closes it, and when a picture takes longer than SECONDS; one for which MEMORY bytes are too few is refused.
"""

import faulthandler
import os
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path

from data.errors import UserError
from data.pictures import read

ANSWER = struct.Struct("<?I")
READY = b"ready\n"
LATE = -signal.SIGALRM if hasattr(signal, "SIGALRM") else 1  # how it ends when a picture takes too long


def _serve(size: int, channels: int, background: str, seconds: float, memory: int) -> None:
    """All that such a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides what Ctrl-C ends
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, others may have lower ones
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # libraries that print do not answer
        answers.write(READY)
        answers.flush()
        batch: list[Path] = []
        for line in sys.stdin.buffer:
            if line.strip():
                batch.append(Path(os.fsdecode(bytes.fromhex(line.decode()))))
                continue
            for path in batch:
                _set_alarm(seconds)
                try:
                    good, content = True, read(path, size, channels, background).tobytes()
                except UserError as error:
                    good, content = False, str(error).encode(errors="surrogatepass")
                _set_alarm(0)
                answers.write(ANSWER.pack(good, len(content)) + content)
                answers.flush()
            batch = []


def _set_alarm(seconds: float) -> None:
    """Ends this process after so many seconds, even from within a decoder; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
