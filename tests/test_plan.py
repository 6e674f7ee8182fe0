"""The plan: programs, memory as the compiler says it, and nothing run or written."""

import importlib.util
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine import devices
from collapse_jax.engine.plan import kept_checkpoints, refusal_of, size

LANGUAGE = """
import collapse_jax as cj

def main(width: int = 256, layers: int = 4, batch: int = 32) -> cj.Experiment:
    family = cj.families.Transformer(1024, 64, layers, width, 4, batch=batch, dtype="bfloat16", bos=0)
    return cj.Experiment(cj.sources.ZipfLanguage(1024, 64), family, cj.regimes.Replace(), 128, 3)
"""


def test_a_plan_counts_programs_and_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 50, 9)
    raw = cj.varied(base, family=cj.families.Gaussian(1, statistics=False), regime=cj.regimes.Accumulate())
    rows = cj.plan([base, cj.varied(base, samples=80), raw], chains=32)
    assert [row["experiments"] for row in rows] == [2, 1]
    assert list(tmp_path.iterdir()) == []
    # The raw store: 11 generations of 50 slots, each a sample, a weight and an origin, on every padded place of a device.
    store = 11 * 50 * (4 + 4 + 4)
    places = rows[1]["chunks_per_device"] * rows[1]["chunk"]
    assert store * places <= rows[1]["state"] <= 1.2 * store * places + 4096
    assert rows[1]["memory"] >= rows[1]["state"] and rows[1]["checkpoint"] >= store * 32
    run = cj.run([base, cj.varied(base, samples=80), raw], chains=32, out=tmp_path / "r")
    used = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file())
    assert 0.2 < sum(row["disk"] for row in rows) / used < 5


def test_chains_on_statistics_never_hold_all_their_real_data():
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 2**20, 3)
    (row,) = cj.plan(e, chains=64)
    assert row["state"] + row["memory"] < 2**20 and row["founding"] < 16 * 4 * 2**20  # one chain's data a device, not 64
    with pytest.raises(cj.ConfigError, match=r"samples = 67108865: at most 67108864"):
        cj.plan(cj.varied(e, samples=2**26 + 1), chains=64)


@pytest.mark.parametrize("keep", ["foo", "last:x", "every:0", 3])
def test_what_cannot_be_kept_is_refused(keep):
    with pytest.raises(cj.ConfigError, match="keep = "):
        cj.plan(cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 5, 3), keep=keep)


def test_checkpoints_that_stay():
    assert kept_checkpoints("all", 10, 1) == 10 and kept_checkpoints("all", 10, 4) == 3
    assert kept_checkpoints("last:2", 10, 1) == 2 and kept_checkpoints("every:5", 10, 1) == 4
    assert size(jax.ShapeDtypeStruct((3, 2), np.float32)) == 24
    assert size(jax.eval_shape(lambda: jax.random.key(0))) == 8


def test_a_device_has_a_limit_that_programs_must_fit(monkeypatch):
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 5, 3)
    (row,) = cj.plan(e, chains=2)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert row["limit"] == machine // row["devices"] and row["fits"] and row["refusal"] == ""
    monkeypatch.setattr(devices, "memory", lambda there: row["memory"] - 1)
    assert not cj.plan(e, chains=2)[0]["fits"]


def test_what_a_compiler_says_of_too_large_a_program_is_kept():
    said = "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory. Used 27.06G of 15.75G hbm. Exceeded by 11G."
    assert refusal_of(RuntimeError(said)) == "27.06G of 15.75G"
    assert refusal_of(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes.")).endswith("allocating 12 bytes.")
    with pytest.raises(RuntimeError, match="INTERNAL"):
        refusal_of(RuntimeError("INTERNAL: something else"))


def test_an_empty_name_is_no_slice():
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 5, 3)
    with pytest.raises(cj.ConfigError, match="topology = : "):
        cj.plan(e, topology="")


def planned(tmp_path, *flags):
    """`collapse plan` in a process of its own, where no backend has been chosen yet."""
    (tmp_path / "language.py").write_text(LANGUAGE)
    words = ["-c", "from collapse_jax.cli import main; main()", "plan", "language.py", *flags]
    return subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed here")
def test_a_slice_that_is_not_here_needs_libtpu(tmp_path):
    done = planned(tmp_path, "--topology", "v5e:2x4")
    assert (
        done.returncode == 2 and done.stderr.count("\n") == 1 and "topology = v5e:2x4: left out: it needs libtpu" in done.stderr
    )


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu (extra tpu) is not installed")
def test_a_slice_that_is_not_here_is_planned_for(tmp_path):
    """Four chains whole on four chips, then each on two; and one too large for a chip of 16 GB."""
    rows = []
    for flags in (("--devices", "4"), ("--fsdp", "2")):
        done = planned(tmp_path, "--topology", "v5e:2x4", "--chains", "4", "--json", *flags)
        assert done.returncode == 0, done.stderr
        rows += json.loads(done.stdout.splitlines()[-1])
    assert [row["devices"] for row in rows] == [4, 8] and all(row["fits"] for row in rows)
    assert rows[1]["memory"] < 0.6 * rows[0]["memory"] and rows[1]["state"] < 0.6 * rows[0]["state"]
    done = planned(
        tmp_path, "--topology", "v5e:2x2", "--devices", "1", "--chains", "1", "--json", "--width", "4096", "--layers", "16"
    )
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert not row["fits"] and row["refusal"].endswith("G of 15.75G")
    done = planned(tmp_path, "--topology", "v5e:7x9")
    assert done.returncode == 2 and "topology = v5e:7x9: a slice such as" in done.stderr
