"""One process a run: a lock on its folder that the system lets go of when the process dies, however it dies."""

import contextlib
import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import Any

from collapse_jax.engine.storage import refusal
from collapse_jax.errors import ConfigError, Stopped

MARK = "collapse_jax process"  # how a lock file of ours begins: rundir.claim knows a folder of ours by it


class RunLock:
    """Holds `folder`/.lock while open.

    Raises Stopped, which names the other process, where one holds it; ConfigError where the file cannot be written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / ".lock"

    def __enter__(self) -> "RunLock":
        try:
            self.file = open(self.path, "a+", encoding="utf-8")  # as long as the lock is held
        except OSError as error:
            reason = refusal(error) or error.strerror
            raise ConfigError("out", self.folder, f"a folder in which {self.path.name} can be written ({reason})") from None
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.seek(0)
            holder = self.file.read(200).strip().split("\n")[0] or "another process"
            self.file.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise ConfigError("out", self.folder, f"a folder that can be locked ({error.strerror})") from None
            again = f"when it has ended: collapse resume {self.folder}"
            raise Stopped(f"{self.folder} is being written by {holder}; {again}") from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the name in it
            self.file.truncate(0)
            os.write(self.file.fileno(), f"{MARK} {os.getpid()} on {socket.gethostname()}".encode())
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()
