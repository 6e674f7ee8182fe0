"""What a disk can refuse, as one line: full, read-only, not permitted, failing."""

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
REFUSED |= {errno.EEXIST, errno.EISDIR}  # something else is in the way
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
