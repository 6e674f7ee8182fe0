"""One grid gives one set of bits on 2 and 8 devices, by shard_map and pmap, at any stride, and no program communicates."""

import jax
import numpy as np
import polars as pl
import pytest
from killing import FEW, LIMIT, WIDE, bits, shared, worked

import collapse_jax as cj
from collapse_jax.engine.parallel import layout
from collapse_jax.errors import ConfigError

GAUSSIAN = ("log_variance", "mean_sq_error")
pytestmark = pytest.mark.timeout(LIMIT + 20)  # the first test waits for all workers


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return worked(shared(tmp_path_factory))


@pytest.mark.parametrize("other", ["pmap2", "shard8", "pmap8"])
def test_devices_parallelism_and_stride_change_no_bit(done, other):
    mine, theirs = bits(done["shard2"]["run"]), bits(done[other]["run"])
    assert (done["shard2"]["devices"], done[other]["devices"]) == (2, int(other[-1]))
    assert sorted(theirs) == sorted(["raw", "counts"] if other == "pmap2" else FEW)
    for label in theirs:
        assert mine[label] == theirs[label], label
    assert len(set(map(str, mine.values()))) == len(mine)


def test_a_chain_with_lapack_in_it_has_the_same_bits_on_2_and_8_devices(done):
    mine = bits(done["wide2"]["run"])
    assert mine == bits(done["wide8"]["run"]) and sorted(mine) == sorted(WIDE)


def test_a_chunk_of_chains_that_call_lapack_is_never_vmapped(done):
    """Vmapped LAPACK on two CPU devices would hang here for ever; one after the other, a chunk changes at most rounding."""
    apart, together = (cj.load(done[name]["run"]).records.filter(pl.col("chain") < 3) for name in ("wide2", "wide chunked"))
    bound = 13 * 16 * 2.0**-23
    for metric in GAUSSIAN:
        np.testing.assert_allclose(apart[metric], together[metric], rtol=bound, atol=bound)
    assert len(together) == 2 * 3 * 13
    cpu = jax.devices("cpu")[:1]
    assert not layout([8], 4, cpu, "shard_map", lapack=True).vmapped and layout([8], 4, cpu, "shard_map").vmapped


def test_one_device_and_another_chunk_agree_within_rounding(done):
    """Float32 rounding of 13 generations: each adds at most 16 units of 2^-23 to a log scale, an error or a frequency."""
    bound = 13 * 16 * 2.0**-23
    for label, metrics in {"raw": GAUSSIAN, "exact": GAUSSIAN, "discrete": ("heterozygosity", "support", "entropy")}.items():
        a, b = (cj.load(done[name]["run"]).records.filter(pl.col("label") == label) for name in ("shard2", "jit"))
        for metric in metrics:
            np.testing.assert_allclose(a[metric], b[metric], rtol=bound, atol=bound, err_msg=f"{label} {metric}")


def test_one_device_and_another_chunk_agree_in_distribution(done):
    """Counts drawn by rejection may differ by a draw: means over 5 chains of the last generation, within 4 standard errors."""
    last = []
    for name in ("shard2", "jit"):
        rows = cj.load(done[name]["run"]).records.filter(pl.col("label") == "counts")
        last.append(rows.filter(pl.col("generation") == rows["generation"].max())["heterozygosity"].to_numpy())
    error = np.sqrt(sum(np.var(x, ddof=1) / len(x) for x in last))
    assert abs(last[0].mean() - last[1].mean()) < 4 * error


def test_no_program_of_a_chain_communicates(done):
    for name, report in done.items():
        assert report["collectives"] == [] and report["programs"] > 1 and report["loops"], name


def test_chunks_are_whole_per_experiment_and_at_least_two_a_device():
    plan = layout([5, 5, 3], 2, list("abcdefgh"), "shard_map")
    assert (plan.per_experiment, plan.used, plan.chunks) == ((3, 3, 2), 8, 16)
    assert plan.owner.tolist() == [0] * 3 + [1] * 3 + [2] * 2 + [-1] * 8
    assert plan.chain_ids.tolist() == [0, 1, 2, 3, 4, 4, 0, 1, 2, 3, 4, 4, 0, 1, 2, 2]
    assert plan.rows(0).tolist() == [0, 1, 2, 3, 4] and plan.rows(2).tolist() == [12, 13, 14]
    assert layout([1], 1, ["a", "b"], "shard_map").chunks == 4
    assert layout([9], 1, ["a", "b"], "jit").devices == ("a",)


@pytest.mark.parametrize("wrong", [{"parallelism": "threads"}, {"chunk": 0}])
def test_a_layout_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        layout(**{"counts": [1], "chunk": 1, "devices": ["a"], "parallelism": "jit", **wrong})
