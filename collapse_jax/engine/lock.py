"""One process a run: a lock on its folder that the system lets go of when the process dies, however it dies."""

import fcntl
import os
import socket
from pathlib import Path
from typing import Any

from collapse_jax.errors import Stopped


class RunLock:
    """Holds `folder`/.lock while open; a second process gets Stopped, which names the first."""

    def __init__(self, folder: Path):
        self.path = folder / ".lock"

    def __enter__(self) -> "RunLock":
        self.file = open(self.path, "a+")  # noqa: SIM115 (kept open as long as the lock is held)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.file.seek(0)
            holder = self.file.read().strip() or "another process"
            self.file.close()
            raise Stopped(f"{self.path.parent} is being written by {holder}; wait for it or stop it first") from None
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self.file.flush()
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()
