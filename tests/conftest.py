"""What all tests share: a cache of programs and data of the session's own, for child processes too; no display."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

import jax
import pytest

if "COLLAPSE_JAX_CACHE" not in os.environ:
    os.environ["COLLAPSE_JAX_CACHE"] = tempfile.mkdtemp(prefix="collapse-jax-tests-")
    atexit.register(shutil.rmtree, os.environ["COLLAPSE_JAX_CACHE"], ignore_errors=True)
os.environ.setdefault("MPLBACKEND", "Agg")

MAPPINGS = Path("/proc/self/maps")
MANY = 20_000  # of the 65,530 memory mappings that Linux gives a process; every compiled program takes some, and without one XLA aborts


@pytest.fixture(scope="module")
def lightly():
    """Without the compiler's costlier passes, for files that compile much and run little: a third less time."""
    from matrix import lightly_compiled

    with lightly_compiled():
        yield


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Forget compiled programs after a file of tests where there are many by then."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()
        gc.collect()
