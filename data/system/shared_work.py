"""Work in numbered parts that any number of processes, on any machines, do together: each takes one that nobody has.

A part is taken by a file beside its result, which its holder refreshes while it works, see `filelock.SoftFileLease`:
this relies neither on the system's locks, which network disks may lack, nor on clocks. What a process that died had
taken is free at once on the same machine, after a minute on another one. A process that stood still for a minute may
do a part that another one does too: results must be moved into place, and be the same whoever made them.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import SoftFileLease, Timeout

from data.system.bars import Bar

_HEARTBEAT, _LEASE = 2.0, 60.0  # seconds between refreshes; without one for a lease, the process is dead
_POLL = 0.1
_BREAK = 0.5  # seconds in which the claim of a process that died is noticed on the same machine


def do_together(
    folder: Path,
    name: str,
    parts: int,
    finished: Callable[[int], int | None],
    do: Callable[[int, Bar], object],
    bar: Bar,
) -> None:
    """Returns when all parts are finished, by this process or another; what was finished before is not done again.

    Args:
        folder: where claims are, the same for all processes.
        name: of this work, among others with claims there.
        parts: how many there are.
        finished: part → how much work it was, for the progress bar; None if its result is not there.
        do: does a part, and updates the progress bar.
        bar: shows the work that is done, whoever did it; its rate is that of the work from now on.

    Raises:
        OSError: the folder cannot be written to, and whatever `do` raises.
    """
    amounts = [finished(part) for part in range(parts)]
    bar.initial = bar.n = bar.last_print_n = sum(filter(None, amounts))
    left = [part for part, amount in enumerate(amounts) if amount is None]
    for seconds in (0, -1):  # first what nobody has, then what others have, unless they finish it
        left = [part for part in left if not _do(_claim(folder, f"{name}-{part}"), part, finished, do, bar, seconds)]


def in_use(folder: Path) -> bool:
    """Whether a process works on parts in a folder at this moment."""
    for path in folder.glob("*.lock"):
        lease = _claim(folder, path.stem)
        try:
            lease.acquire(_BREAK, _POLL)
        except OSError:  # a Timeout is one
            return True
        lease.release()
    return False


def _claim(folder: Path, name: str) -> SoftFileLease:
    path = folder / f"{name}.lock"
    return SoftFileLease(path, lease_duration=_LEASE, heartbeat_interval=_HEARTBEAT, thread_local=False)


def _do(
    claim: SoftFileLease,
    part: int,
    finished: Callable[[int], int | None],
    do: Callable[[int, Bar], object],
    bar: Bar,
    seconds: float,
) -> bool:
    """Does a part unless another process has it for so long, -1 for ever; whether it is finished."""
    try:
        claim.acquire(seconds, _POLL, cancel_check=lambda: finished(part) is not None)
    except Timeout:
        if (amount := finished(part)) is not None:
            bar.update(amount)
        return amount is not None
    try:
        if (amount := finished(part)) is not None:
            bar.update(amount)
        else:
            do(part, bar)
    finally:
        with suppress(OSError):  # the disk is gone or read-only by now
            claim.release()
    return True
