"""One process writes a run: a second is told who does, and a killed one leaves nothing locked."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from collapse_jax.engine.lock import RunLock
from collapse_jax.errors import ConfigError, Stopped

HOLDER = """
import sys, time
from pathlib import Path
from collapse_jax.engine.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.mark.timeout(60)
def test_a_second_process_is_told_who_writes_and_sigkill_frees(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Stopped) as caught, RunLock(tmp_path):
        pass
    assert str(caught.value) == (
        f"{tmp_path} is being written by collapse_jax process {holder.pid} on {socket.gethostname()}; "
        f"when it has ended: collapse resume {tmp_path}"
    )
    holder.send_signal(signal.SIGKILL)
    holder.wait(30)
    with RunLock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"collapse_jax process {os.getpid()} on {socket.gethostname()}"


def test_held_once_within_a_process_and_freed_at_the_end(tmp_path):
    with RunLock(tmp_path), pytest.raises(Stopped, match=f"process {os.getpid()} "), RunLock(tmp_path):
        pass
    with pytest.raises(KeyError), RunLock(tmp_path):
        raise KeyError
    with RunLock(tmp_path):
        pass


def test_a_program_started_by_the_holder_does_not_hold_it(tmp_path):
    with RunLock(tmp_path):
        other = subprocess.Popen(["sleep", "30"])
    try:
        with RunLock(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()


def test_a_folder_without_a_lock_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="^out = .*: a folder in which .lock can be written"), RunLock(tmp_path / "none"):
        pass
