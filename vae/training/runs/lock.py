"""`RunLock`: one training at a time writes a run's files, on any machine.

The lock is a file in the run's folder that its holder refreshes; another process watches whether the file changes. It
relies neither on the system's locks, which network disks may lack, nor on clocks. The lock of a process that has died
is taken at once on the same machine, after a minute on another one.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from data.system.errors import StorageError, UserError, echo
from data.system.files import storage_errors

LOCK_NAME = "run.lock"
_HEARTBEAT, _LEASE = 2.0, 60.0  # seconds between refreshes; without one for a lease, the process is dead
_POLL = 0.2


class RunLock:
    """The lock of at most one run.

    Attributes:
        run: the folder of the run; None before one is locked.
    """

    def __init__(self) -> None:
        self.run: Path | None = None
        self._lease: SoftFileLease | None = None

    def acquire(self, run: Path) -> None:
        """Locks a run. Raises `UserError` if another process trains in it, or the folder cannot be written to."""
        path = run / LOCK_NAME
        lease = SoftFileLease(path, lease_duration=_LEASE, heartbeat_interval=_HEARTBEAT, thread_local=False)
        before, longest = _modified(path), _LEASE + _HEARTBEAT
        if before is not None:
            echo(f"{run}: looks, for {longest:.0f} s at most, whether {_holder(lease)} still trains in it")
        with storage_errors(path):
            try:
                lease.acquire(longest, _POLL, cancel_check=lambda: _modified(path) not in (None, before))
            except (Timeout, LeaseSettingsMismatch):  # both are kinds of OSError
                raise UserError(
                    f"{run}: {_holder(lease)} trains in it; wait for its end, or train another run without --ckpt_path "
                    f"(if nothing trains there, remove {path})"
                ) from None
        self.run, self._lease = run, lease

    def check(self) -> None:
        """Raises `StorageError` if another process has taken the lock since, as this one stood still for a minute."""
        if self._lease is not None and not any(_is_held(self._lease, pause) for pause in (0, 1, 2)):
            raise StorageError(f"{self.run}: {_holder(self._lease)} took it while this training stood still")

    def release(self) -> None:
        """Releases the lock, if one is held."""
        lease, self._lease = self._lease, None
        if lease is not None:
            with suppress(OSError):  # the disk is gone or read-only by now
                lease.release()


def _is_held(lease: SoftFileLease, pause: float) -> bool:
    """True if this process has the lock, asked after some seconds: a disk may not answer at once."""
    time.sleep(pause)
    owner = lease.owner
    return lease.compromise is None and owner is not None and owner.token == lease.token


def _modified(path: Path) -> int | None:
    """The time when a lock was last refreshed, by its disk; the file is opened, as network disks cache the rest."""
    with suppress(OSError), path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns
    return None


def _holder(lease: SoftFileLease) -> str:
    owner = lease.owner
    if owner is None:
        return "another process"
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}"  # a container's name has a number behind it
