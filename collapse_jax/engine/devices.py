"""Which devices a run uses: one CPU device per core where nothing has been set yet, and a compile cache that outlives it."""

import os
import sys
from pathlib import Path
from typing import Any

import jax

from collapse_jax.errors import ConfigError


def cache_folder() -> Path:
    """The user's folder for compiled programs: COLLAPSE_JAX_CACHE, or collapse_jax in the user's cache folder."""
    own = os.environ.get("COLLAPSE_JAX_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(own) if own else Path(user) / "collapse_jax") / "programs"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begun() -> bool:
    """Whether JAX has chosen its devices already."""
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()


def prepare(devices: int | None = None) -> None:
    """Ask for CPU devices (as many as cores, or as `devices`) where that can still be done, and set the compile cache.

    What the user has set in the environment or in JAX's configuration stays.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    flags = os.environ.get("XLA_FLAGS", "")
    chosen = "JAX_NUM_CPU_DEVICES" in os.environ or "xla_force_host_platform_device_count" in flags
    if not begun():
        if devices is not None or (not chosen and jax.config.jax_num_cpu_devices < 1):
            jax.config.update("jax_num_cpu_devices", max(devices or 1, cores()) if devices else cores())
    elif devices is None and jax.default_backend() == "cpu" and jax.device_count() < cores() and not chosen:
        print(f"JAX was in use before collapse_jax: {jax.device_count()} CPU device(s) for {cores()} cores", file=sys.stderr)


def select(devices: int | None) -> list[Any]:
    """The first `devices` devices (None: all). Raises ConfigError where there are not so many."""
    there = jax.local_devices()
    if devices is None:
        return there
    if isinstance(devices, bool) or not isinstance(devices, int) or not 1 <= devices <= len(there):
        raise ConfigError("devices", devices, f"a whole number from 1 to {len(there)}, the devices there are")
    return there[:devices]
