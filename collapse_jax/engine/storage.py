"""What a disk can refuse, as one line: full, read-only, not permitted, failing."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collapse_jax.errors import Stopped

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG}
PHRASES = ("No space left", "RESOURCE_EXHAUSTED", "File too large", "Disk quota")


@contextmanager
def writing(folder: Path, hint: str) -> Iterator[None]:
    """Turn what the disk refuses into Stopped: the folder, the reason and how to go on. Other errors pass."""
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        raise Stopped(f"cannot write to {folder}: {reason}; {hint}") from error


def refusal(error: BaseException) -> str | None:
    """Why the disk refused, looking through what other libraries wrapped around it; None: it was something else."""
    seen: list[Any] = [error]
    while seen:
        e = seen.pop()
        if isinstance(e, OSError) and e.errno in FULL | REFUSED:
            return (e.strerror or "refused").lower()
        if any(phrase in str(e) for phrase in PHRASES):
            return "no space left on device"
        seen += [x for x in (e.__cause__, e.__context__) if x is not None]
        seen += list(getattr(e, "exceptions", ()))
    return None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is either there as a whole or not at all."""
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
