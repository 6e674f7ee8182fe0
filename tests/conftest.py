"""What all tests share: a cache of programs and data of the session's own, for child processes too; no display."""

import atexit
import os
import shutil
import tempfile

if "COLLAPSE_JAX_CACHE" not in os.environ:
    os.environ["COLLAPSE_JAX_CACHE"] = tempfile.mkdtemp(prefix="collapse-jax-tests-")
    atexit.register(shutil.rmtree, os.environ["COLLAPSE_JAX_CACHE"], ignore_errors=True)
os.environ.setdefault("MPLBACKEND", "Agg")
