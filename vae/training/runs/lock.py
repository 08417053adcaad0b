"""`RunLock`: one training at a time writes a run's files, on whatever machine it is.

The lock is a file in the run's folder that its holder refreshes. What locks of the system are known to do on network
disks (none at all, or for one machine alone) does not matter, nor do clocks: whoever comes later looks whether the file
changes. That of a process which has died is found out at once on the same machine, after a minute on another one.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from data.system.errors import StorageError, UserError, echo
from data.system.files import storage_errors

NAME = "run.lock"
_REFRESHED_EVERY, _SILENCE = 2.0, 60.0  # seconds; a file that has not changed for so long is a dead process's
_POLL = 0.2


class InUseError(UserError):
    """A run in which another process trains."""


class RunLock:
    """The lock of at most one run.

    Attributes:
        run: whose; None before one is taken.
    """

    def __init__(self) -> None:
        self.run: Path | None = None
        self._lease: SoftFileLease | None = None

    def take(self, run: Path) -> None:
        """Locks a run.

        Raises:
            InUseError: another process trains in it.
            PlaceError: the folder cannot be written to.
        """
        lease = SoftFileLease(
            run / NAME, lease_duration=_SILENCE, heartbeat_interval=_REFRESHED_EVERY, thread_local=False
        )
        began, before, waiting = time.monotonic(), _changed(run), False
        while not _acquired(lease):
            silent = time.monotonic() - began
            if _changed(run) != before or silent > _SILENCE + _REFRESHED_EVERY:
                raise InUseError(f"{run}: {_holder(lease)} trains in it; {_remedy(run)}")
            if silent > 2 * _REFRESHED_EVERY and not waiting:
                waiting = True
                echo(f"{run}: waits up to {_SILENCE:.0f} s to see whether {_holder(lease)} still trains in it")
            time.sleep(_POLL)
        self.run, self._lease = run, lease

    def check(self) -> None:
        """Raises `StorageError` where another process has, or had, the lock, as this one did not move for a minute."""
        if self._lease is not None and not any(_is_held(self._lease, pause) for pause in (0, 1, 2)):
            raise StorageError(f"{self.run}: {_holder(self._lease)} took it while this training stood still")

    def release(self) -> None:
        """Gives the lock back, if one is held."""
        lease, self._lease = self._lease, None
        if lease is not None:
            with suppress(OSError):  # the disk is gone or read-only by now
                lease.release()


def _acquired(lease: SoftFileLease) -> bool:
    """Whether the lock could be taken now; that of a dead process can."""
    with storage_errors(Path(lease.lock_file)):
        try:
            lease.acquire(timeout=0)
        except (Timeout, LeaseSettingsMismatch):  # which are errors of the system too
            return False
    return True


def _is_held(lease: SoftFileLease, pause: float) -> bool:
    """After some seconds, for a disk may not answer at once."""
    time.sleep(pause)
    owner = lease.owner
    return lease.compromise is None and owner is not None and owner.token == lease.token


def _changed(run: Path) -> int | None:
    """When the lock was last refreshed, by the clock of its disk; it is opened, as network disks remember the rest."""
    with suppress(OSError), (run / NAME).open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns
    return None


def _holder(lease: SoftFileLease) -> str:
    owner = lease.owner
    if owner is None:
        return "another process"
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}"  # a container's has a number behind it


def _remedy(run: Path) -> str:
    return f"wait for its end, or train another run without --ckpt_path (if nothing trains there, remove {run / NAME})"
