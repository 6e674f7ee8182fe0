"""A full disk ends in one line, and everything that was finished is still there when there is room again."""

import errno
import os
import subprocess
import sys

import pytest

from collapse_jax.engine.storage import StorageError, refusal, writing
from collapse_jax.errors import Stopped


def on_small_disk(code, folder, size):
    """Run Python code on a disk of `size` bytes mounted at `folder`; where nobody may mount, on files of at most that size."""
    folder.mkdir()
    command = [sys.executable, "-c", code, str(folder)]
    mount = f"mount -t tmpfs -o size={size} none '{folder}'"
    try:
        allowed = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, timeout=30).returncode == 0
    except FileNotFoundError:
        allowed = False
    if allowed:
        command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
        limit = None
    else:

        def limit():
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(command, capture_output=True, text=True, timeout=100, preexec_fn=limit)
    return done, "no space left on device" if allowed else "file too large"


@pytest.mark.timeout(120)
def test_whole_files_records_and_samples_on_a_full_disk(tmp_path):
    code = """
import sys, numpy as np
from pathlib import Path
from collapse_jax.engine.records import Records, frame
from collapse_jax.engine.samples import read_samples, write_samples
from collapse_jax.engine.storage import writing
from collapse_jax.files import write_whole
from collapse_jax.errors import Stopped
folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
records = Records(folder / "records")
def rows(n): return frame({"x": rng.random((n, 1, 50))}, np.zeros(n, np.int32), np.arange(n), 1)
def text(g, size): return [{"experiment": 0, "chain": 0, "generation": g, "text": "x" * size}]
records.write("000", 0, 0, rows(10))
write_samples(folder / "samples", "000", 0, text(0, 10))
write_whole(folder / "run.json", b"old")
big = 4_000_000
for write in (lambda: records.write("000", 1, 1, rows(20_000)), lambda: write_samples(folder / "samples", "000", 1, text(1, big)),
              lambda: write_whole(folder / "run.json", b"n" * big)):
    try:
        with writing(folder, "resume with: collapse resume it"):
            write()
        print("it fitted")
    except Stopped as error:
        print(error)
assert records.read().height == 10 and len(read_samples(folder / "samples")) == 1
assert (folder / "run.json").read_bytes() == b"old"
print(sorted(path.name for path in folder.rglob("*") if path.is_file()))
"""
    done, reason = on_small_disk(code, tmp_path / "disk", 1_000_000)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == [f"cannot write to {tmp_path / 'disk'}: {reason}; resume with: collapse resume it"] * 3
    assert lines[3:] == [str(["0-0.parquet", "000-00000.jsonl", "run.json"])]  # nothing half written stays
    assert done.stderr == ""


@pytest.mark.timeout(120)
def test_checkpoints_on_a_full_disk(tmp_path):
    """The background save that found the disk full is told of, the process ends at once, and older ones are whole."""
    code = """
import sys, jax, numpy as np
from pathlib import Path
from collapse_jax.engine.checkpoint import Checkpoints
from collapse_jax.engine.storage import writing
from collapse_jax.errors import Stopped
folder = Path(sys.argv[1]) / "000"
value = lambda size: {"w": jax.random.normal(jax.random.key(size), (size,))}
checkpoints = Checkpoints(folder)
try:
    for generation, size in enumerate((1000, 1000, 1_000_000, 1000)):
        with writing(folder, "resume with: collapse resume it"):
            checkpoints.save(generation, value(size))
except Stopped as error:
    print(generation, error)
finally:
    checkpoints.close()
again = Checkpoints(folder)
generation, back = again.restore(jax.eval_shape(lambda: value(1000)))
print(generation, np.array_equal(back["w"], value(1000)["w"]))
again.save(2, value(1001))
again.wait()
print(again.generations())
again.close()
"""
    done, reason = on_small_disk(code, tmp_path / "disk", 1_000_000)
    assert done.returncode == 0, done.stderr
    # generation 2 fails in the background; saving generation 3 tells
    expected = f"3 cannot write to {tmp_path / 'disk' / '000'}: {reason}; resume with: collapse resume it"
    assert done.stdout.splitlines() == [expected, "1 True", "[0, 1, 2]"]
    assert done.stderr == ""


@pytest.mark.timeout(120)
def test_a_checkpoint_folder_that_cannot_be_made_ends_at_once(tmp_path):
    """Orbax's background threads would wait minutes for that folder; here a file is where it should be."""
    code = """
import sys, jax.numpy as jnp
from pathlib import Path
from collapse_jax.engine.checkpoint import Checkpoints
from collapse_jax.engine.storage import writing
from collapse_jax.errors import Stopped
folder = Path(sys.argv[1])
(folder / "file").write_text("")
checkpoints = Checkpoints(folder / "file" / "000")
try:
    with writing(folder, "hint"):
        checkpoints.save(0, jnp.zeros(3))
        checkpoints.wait()
except Stopped as error:
    print(error)
checkpoints.close()
"""
    done, _ = on_small_disk(code, tmp_path / "disk", 1_000_000)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write to {tmp_path / 'disk'}: not a directory") and done.stderr == ""


def test_the_system_s_own_full_device_is_named():
    with (
        pytest.raises(StorageError, match="^cannot write to runs/a: no space left on device; try again$"),
        writing("runs/a", "try again"),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")
    assert issubclass(StorageError, Stopped) and StorageError.exit_code == 3


def test_reasons_inside_other_libraries_errors():
    tensorstore = ValueError("RESOURCE_EXHAUSTED: Failed writing: Failed to write 9 bytes: No space [os_error_code='28']")
    assert refusal(tensorstore) == os.strerror(errno.ENOSPC).lower()
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = OSError(errno.EROFS, "x", "runs/a/b")
    assert refusal(wrapped) == "read-only file system (runs/a/b)"
    assert refusal(ExceptionGroup("several", [KeyError(), OSError(errno.EDQUOT, "x")])) == os.strerror(errno.EDQUOT).lower()


def test_other_errors_pass_unchanged():
    """A device out of memory is RESOURCE_EXHAUSTED as well, and no reason to blame the disk."""
    for error in (
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes"),
        KeyError("x"),
        FileNotFoundError(2, "x"),
    ):
        assert refusal(error) is None
        with pytest.raises(type(error)) as caught, writing("runs/a", "hint"):
            raise error
        assert caught.value is error
    first = Stopped("as it is")
    with pytest.raises(Stopped, match="^as it is$"), writing("runs/a", "hint"):
        raise first
