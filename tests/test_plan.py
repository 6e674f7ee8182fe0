"""The plan: programs, memory as the compiler says it, and nothing run or written."""

import jax
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine.plan import kept_checkpoints, size


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
