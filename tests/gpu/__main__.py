"""Makes all checks and measurements on the GPU, each number one line of JSON; none begins after six minutes.

    python -m tests.gpu         # exit code 1 if a number is not allowed
    python -m tests.gpu cpu     # tries the same on the CPU, small; such numbers mean nothing

It needs torch and numpy alone.
"""

import json
import sys
import time
import traceback

import torch

from tests.gpu.jobs import jobs, run
from tests.gpu.steps import GPU, TINY

_SECONDS = 360  # after which no other job begins


def main(words: list[str]) -> int:
    """The exit code."""
    scale, start, failed = TINY if words == ["cpu"] else GPU, time.perf_counter(), []
    if scale is GPU and not torch.cuda.is_available():
        print("no GPU that torch can use: nothing was measured")
        return 0
    processor = torch.cuda.get_device_name() if scale is GPU else "CPU"
    print(json.dumps({"name": "device", "value": processor, "torch": torch.__version__}), flush=True)
    for name, job in jobs(scale).items():
        if time.perf_counter() - start > _SECONDS:
            print(json.dumps({"name": name, "skipped": "no time is left"}), flush=True)
            continue
        try:
            good = run(job, name, scale)
        except Exception:
            traceback.print_exc()
            good = False
        failed += [] if good else [name]
    seconds = round(time.perf_counter() - start)
    print(json.dumps({"name": "failed", "value": failed, "seconds": seconds}), flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
