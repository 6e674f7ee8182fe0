"""Arms of a grid are paired, do not disturb each other, and share one compiled program per signature."""

import jax
import numpy as np
import polars as pl
import pytest
from killing import LIMIT, bits, shared, worked

import collapse_jax as cj
from collapse_jax.engine.work import Settings, Work
from collapse_jax.errors import ConfigError

pytestmark = pytest.mark.timeout(LIMIT + 20)  # the first test waits for all workers


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return worked(shared(tmp_path_factory))


@pytest.mark.parametrize("arms", [["raw", "raw accumulate", "raw mix"], ["text", "text more"]])
def test_generation_0_is_the_same_in_every_arm_and_later_ones_are_not(done, arms):
    run = cj.load(done["shard2"]["run"])
    labels = [e.label for e in run.experiments]
    records = [run.records.filter((pl.col("label") == arm) & (pl.col("generation") == 0)) for arm in arms]
    index = list(run.records.columns).index("generation")
    metrics = [name for name in run.records.columns[index:] if records[0][name].null_count() == 0]
    params = [jax.tree.leaves(run.params(labels.index(arm), 0)) for arm in arms]
    for other, theirs in zip(records[1:], params[1:], strict=True):
        assert other.select(metrics).equals(records[0].select(metrics)) and len(other) == 5
        for a, b in zip(params[0], theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert len({str(bits(run.folder)[arm]) for arm in arms}) == len(arms)


def test_generation_0_of_language_models_does_not_depend_on_the_regime(done):
    mix, replace = (cj.load(done[name]["run"]).records for name in ("shard2", "text"))
    chosen = ["chain", "perplexity", "train_loss", "sample"]
    chosen = [name for name in chosen if name in replace.columns]
    mix = mix.filter((pl.col("label") == "text") & (pl.col("generation") == 0)).select(chosen)
    assert mix.equals(replace.filter(pl.col("generation") == 0).select(chosen)) and len(mix) == 5


def test_other_experiments_of_a_grid_change_no_bit(done):
    whole, apart = bits(done["shard2"]["run"]), bits(done["apart"]["run"])
    assert sorted(apart) == ["discrete", "exact more", "raw"]
    for label in apart:
        assert apart[label] == whole[label], label


def test_a_chain_does_not_depend_on_how_many_there_are(done):
    three, one = (cj.load(done[name]["run"]).records.filter(pl.col("chain") == 0) for name in ("wide2", "one"))
    assert three.equals(one) and len(one) == 2 * 13


def test_another_seed_gives_other_chains(done):
    a, b = bits(done["shard2"]["run"])["raw"], bits(done["seed 1"]["run"])["raw"]
    assert a["generation"] == b["generation"] and a["trace_ratio"] != b["trace_ratio"]


def test_one_program_is_compiled_per_signature(done):
    """Sizes and shares are leaves; regime, family and raw samples or statistics are not."""
    assert done["shard2"]["advance"] == len(["raw", "accumulate", "mix", "exact", "discrete", "counts", "text"])
    assert done["wide2"]["advance"] == 1
    founded = {"raw, exact": 2, "discrete, counts": 1, "text": 1}  # generation 0: estimators differ; sizes up to 1,024 do not
    drawn = {"raw": 1, "discrete": 1, "text": 1}  # real data for chains that keep samples
    begun = {"text": 1}  # large models by a program of their own
    others = sum(sum(programs.values()) for programs in (founded, drawn, begun))
    assert done["shard2"]["programs"] - done["shard2"]["advance"] == others


def test_a_grid_can_be_placed_before_it_is_run():
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 10, 5)
    work = Work(
        cj.grid(e, samples=[10, 20], regime=[cj.regimes.Replace(), cj.regimes.Accumulate()]), Settings(chains=30), jax.devices()
    )
    assert [group.indices for group in work.groups] == [(0, 2), (1, 3)]
    assert work.layout(work.groups[0]).chunk == 30 // 8 and work.keep(work.groups[0]) == "last:2"
    assert Work([e], Settings(chains=30, chunk=100), jax.devices()).chunk(work.settled[0]) == 30
    assert Work([e], Settings(stride=4, keep="every:3"), jax.devices()).buffer(work.groups[0]) == 4


@pytest.mark.parametrize(
    "name, value",
    [("chains", 0), ("chains", 2.5), ("chains", True), ("seed", -1), ("stride", 0), ("chunk", 0), ("parallelism", "threads")],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} = "):
        Settings(**{name: value}).validate()


def test_an_empty_grid_is_refused():
    with pytest.raises(ConfigError, match="at least one experiment"):
        Work([], Settings(), jax.devices())
