"""What a disk can refuse, as one line: full, read-only, not permitted, failing; and files that are there whole or not at all."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collapse_jax.errors import Stopped

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOLCK, errno.ENOTDIR, errno.ENAMETOOLONG}
SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
OS_CODE = re.compile(r"\[os_error_code='(\d+)'")  # how TensorStore, beneath Orbax, reports what the system said


class StorageError(Stopped):
    """The disk refused: nothing that was finished is lost, and the run goes on once there is room or permission."""


@contextmanager
def writing(folder: Path, hint: str) -> Iterator[None]:
    """Turn what the disk refuses into StorageError: the place, the reason and how to go on. Other errors pass."""
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        raise StorageError(f"cannot write to {folder}: {reason}; {hint}") from error


def refusal(error: BaseException) -> str | None:
    """Why the system refused, looking through what other libraries wrapped around it; None: it was something else."""
    seen: list[Any] = [error]
    for e in seen:
        found = OS_CODE.search(str(e))
        code = e.errno if isinstance(e, OSError) else int(found[1]) if found else None
        if code in FULL | REFUSED | SHORT:
            place = getattr(e, "filename", None) if code in REFUSED else None
            return os.strerror(code).lower() + (f" ({place})" if place else "")
        seen += [x for x in (e.__cause__, e.__context__, *getattr(e, "exceptions", ())) if x is not None and x not in seen]
    return None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, with its folder, so that even after a loss of power it is there as a whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder last, where the file system can do that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # object stores mounted as folders have no such call
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(handle)
