"""Which devices a run uses: one CPU device per core where nothing has been set yet, and a compile cache that outlives it."""

import functools
import hashlib
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from collapse_jax.checks import whole
from collapse_jax.errors import ConfigError

CACHE = {  # everything is worth keeping: the smallest program here takes longer to compile than to read
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def cache_folder() -> Path:
    """The user's folder for compiled programs: COLLAPSE_JAX_CACHE, or collapse_jax in the user's cache folder.

    One folder per kind of machine, because a program compiled for one CPU may not run on another that shares the disk.
    """
    own = os.environ.get("COLLAPSE_JAX_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return (Path(own) if own else Path(user) / "collapse_jax") / machine()


def machine() -> str:
    """The architecture with a digest of what the CPU can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        known = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        known = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setting(name: str) -> Any:
    """What JAX's configuration says at present."""
    return getattr(jax.config, name)


def prepare(devices: int | None = None) -> None:
    """Ask for CPU devices (as many as cores, or as `devices`) where that can still be done, and set the compile cache.

    Starts no backend. What the user has set in the environment or in JAX's configuration stays; where a CPU backend
    with fewer devices is there already, a line says so.
    """
    keep_programs()
    chosen = "JAX_NUM_CPU_DEVICES" in os.environ or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if devices is None and (chosen or setting("jax_num_cpu_devices") > 0):
        return
    wanted = max(cores(), devices if isinstance(devices, int) else 1)
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError:  # a backend is there: JAX lets nobody change this any more
        if devices is None and jax.default_backend() == "cpu" and jax.local_device_count() < wanted:
            there = jax.local_device_count()
            say(f"JAX was in use before collapse_jax: it runs on {there} CPU device(s), not {wanted}")


@functools.cache
def say(line: str) -> None:
    """A line on standard error, once a process."""
    print(line, file=sys.stderr)


def keep_programs() -> None:
    """Keep compiled programs in `cache_folder`, unless the user has chosen another place or none."""
    if setting("jax_compilation_cache_dir") is not None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written costs compile time, nothing else
    jax.config.update("jax_compilation_cache_dir", str(folder))
    for name, value in CACHE.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)


def select(devices: int | None) -> list[Any]:
    """The first `devices` devices (None: all). Raises ConfigError where there are not so many."""
    there = jax.local_devices()
    if devices is None:
        return there
    whole("devices", devices, 1, len(there), ", the devices there are")
    return there[:devices]


def of_topology(name: str, devices: int | None) -> list[Any]:
    """The devices (None: all) of a TPU slice of this name, which is only described: programs are compiled for them by libtpu.

    Raises ConfigError without libtpu, or where it knows no such slice.
    """
    from jax.experimental import topologies

    # No metadata server is asked, nothing said of it, and another process may use the chips there are: none are needed.
    quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-8"}
    for variable, value in (quiet | {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}).items():
        os.environ.setdefault(variable, value)
    if setting("jax_platforms") is None:
        jax.config.update("jax_platforms", "cpu")  # else libtpu would look for chips
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError("topology", name, "left out: it needs libtpu (pip install 'collapse_jax[tpu]')")
    try:
        there = list(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)
    except Exception as error:  # of several kinds, by what is wrong with the name
        text = " ".join(str(error).split())[:100]
        raise ConfigError("topology", name, f"a slice such as v5e:2x4, v6e:2x2 or v4:2x2x1 ({text})") from None
    if devices is not None:
        whole("devices", devices, 1, len(there), f", the devices of {name}")
    return there[:devices]


def memory(devices: Sequence[Any]) -> int | None:
    """Bytes that one of these devices has: as it says itself, or of a CPU its share of the machine's; None where it is not known."""
    if devices[0].platform == "cpu":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // len(devices)
    try:
        return int(devices[0].memory_stats()["bytes_limit"])
    except (jax.errors.JaxRuntimeError, NotImplementedError, KeyError, TypeError, ValueError, AttributeError):
        return None  # devices that are only described have none; their compiler knows
