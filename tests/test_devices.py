"""Devices: one per core unless the user says otherwise, nothing started by importing, and programs kept between processes."""

import os
import subprocess
import sys

import jax
import pytest

from collapse_jax.engine import devices
from collapse_jax.errors import ConfigError

OWN = ("JAX_", "XLA_", "COLLAPSE_JAX_", "XDG_CACHE_HOME")


def python(code, folder, **environment):
    """The lines another Python prints, with none of this one's JAX settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    clean |= {"COLLAPSE_JAX_CACHE": str(folder / "own"), "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1], done.stderr.split("\n")[:-1]


@pytest.mark.timeout(120)
def test_importing_starts_no_backend_and_gives_a_device_per_core(tmp_path):
    code = """
import os, jax
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from collapse_jax.engine import devices
assert devices.cores() == 1
print(jax.config.jax_num_cpu_devices)
jax.config.update("jax_num_cpu_devices", -1)  # JAX refuses this once a backend is there
devices.prepare(3)
print(len(devices.select(None)), len(devices.select(2)))
jax.jit(lambda x: x * 17 + 3)(1.0)
"""
    out, said = python(code, tmp_path)
    assert out == ["1", "3 2"] and said == []
    programs = list((tmp_path / "own").glob("*/*"))
    assert programs and (tmp_path / "own" / devices.machine()).is_dir()


@pytest.mark.timeout(120)
def test_a_backend_that_was_there_stays_and_a_line_says_so(tmp_path):
    code = """
import jax
jax.devices()
import os
os.sched_getaffinity = lambda process: {0, 1, 2}
from collapse_jax.engine import devices
devices.prepare()
print(jax.device_count())
"""
    out, said = python(code, tmp_path)
    assert out == ["1"] and said == ["JAX was in use before collapse_jax: it runs on 1 CPU device(s), not 3"]


@pytest.mark.timeout(120)
def test_what_the_user_has_set_stays(tmp_path):
    code = """
import jax, collapse_jax.engine.devices
print(jax.device_count(), jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs)
"""
    mine = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "mine"), "JAX_NUM_CPU_DEVICES": "5"}
    assert python(code, tmp_path, **mine) == ([f"5 {tmp_path / 'mine'} 1.0"], [])
    assert not (tmp_path / "own").exists()
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "7"}
    assert python(code, tmp_path, **flags) == ([f"3 {tmp_path / 'own' / devices.machine()} 7.0"], [])


def test_where_programs_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("COLLAPSE_JAX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert devices.cache_folder() == tmp_path / "collapse_jax" / devices.machine()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert devices.cache_folder() == tmp_path / ".cache" / "collapse_jax" / devices.machine()


def test_a_number_of_devices_that_are_not_there_is_refused():
    there = len(jax.local_devices())
    assert devices.select(None) == jax.local_devices() and devices.select(1) == jax.local_devices()[:1]
    for wrong in (0, -1, there + 1, 1.0, "2", True):
        with pytest.raises(ConfigError, match=f"^devices = .*: a whole number from 1 to {there}, the devices there are$"):
            devices.select(wrong)
