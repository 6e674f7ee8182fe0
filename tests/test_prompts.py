"""Prompts: which blocks samples continue, by how many tokens, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import collapse_jax as cj
from collapse_jax.experiment import advance, initial_chain
from collapse_jax.families import Epochs, Steps, Transformer

pytestmark = pytest.mark.usefixtures("lightly")

SOURCE = cj.sources.ZipfLanguage(vocabulary=20, block=8)
FAMILY = Transformer.of(
    "opt", vocabulary=20, block=8, context=16, layers=1, width=16, heads=2, bos=0, batch=8, budget=Steps(4), test_blocks=8
)


def experiment(**fields):
    fields = {"family": FAMILY, "regime": cj.regimes.Replace(), "prompts": cj.Prompts(), "samples": 12} | fields
    return cj.Experiment(source=SOURCE, generations=2, decoding=cj.decoding.Greedy(), **fields)


def generations(e):
    """The chain before each generation and after the last, and each generation's training set."""
    e = cj.resolve(e)
    shared = e.source.load(None) | {"test": np.zeros((4, 8), np.int32)}
    chain, found = initial_chain(e, shared, jax.random.key(3)), []
    for t in range(3):
        found.append(chain)
        chain, _ = jax.jit(lambda chain, t: advance(e, shared, chain, t))(chain, t)
    return [*found, chain]


def blocks_of(chain):
    return np.asarray(getattr(chain.store, "current", chain.store).samples)


@pytest.mark.parametrize("length", [None, 3])
def test_blocks_continue_the_real_ones_in_every_generation(length):
    chains = generations(experiment(prompts=cj.Prompts("real", length)))
    real = blocks_of(chains[0])
    for chain in chains[1:]:
        expected = FAMILY.generate(
            jax.random.key(0), chain.params, jnp.asarray(real[:, 8 - (length or 8) :]), 8, cj.decoding.Greedy()
        )
        np.testing.assert_array_equal(blocks_of(chain), expected[:, length or 8 :])


def test_blocks_continue_those_of_the_store():
    chains = generations(experiment(prompts=cj.Prompts("store")))
    for before, chain in zip(chains, chains[1:], strict=False):
        expected = FAMILY.generate(jax.random.key(0), chain.params, jnp.asarray(blocks_of(before)), 8, cj.decoding.Greedy())
        np.testing.assert_array_equal(blocks_of(chain), expected[:, 8:])


def test_a_prompt_may_be_kept():
    chains = generations(experiment(prompts=cj.Prompts("real", 5, kept=True)))
    for chain in chains[1:]:
        expected = FAMILY.generate(
            jax.random.key(0), chain.params, jnp.asarray(blocks_of(chains[0])[:, :5]), 3, cj.decoding.Greedy()
        )
        np.testing.assert_array_equal(blocks_of(chain), expected)


@pytest.mark.parametrize("prompts, given", [(None, 0), (cj.Prompts("real", 3), 0), (cj.Prompts("real", 3, kept=True), 3)])
def test_seq_rep_4_is_of_what_stands_behind_a_kept_prompt(prompts, given):
    e = cj.resolve(experiment(prompts=prompts, metrics=["rep_4", "seq_rep_4"], samples=16))
    shared = e.source.load(None) | {"test": np.zeros((4, 8), np.int32)}
    chain, record = advance(e, shared, initial_chain(e, shared, jax.random.key(3)), 0)
    repeated = lambda row: 1 - len({tuple(row[i : i + 4]) for i in range(len(row) - 3)}) / (len(row) - 3)
    found = {start: np.mean([repeated(row[start:]) for row in blocks_of(chain).tolist()]) for start in (0, given)}
    np.testing.assert_allclose(record["seq_rep_4"], found[given], atol=1e-6)
    np.testing.assert_allclose(record["rep_4"], found[0], atol=1e-6)
    assert found[0] > 0 and (found[given] != found[0]) == (given > 0)


def test_seq_rep_4_is_refused_where_fewer_than_four_tokens_follow(tmp_path):
    kept = lambda length: experiment(prompts=cj.Prompts("real", length, kept=True), metrics=["seq_rep_4"], samples=16)
    cj.plan(kept(4), chains=1)
    for refused in (kept(5), [kept(4), kept(5)]):
        with pytest.raises(cj.ConfigError, match="metrics = seq_rep_4: among "):
            cj.plan(refused, chains=1)


def test_a_kept_prompt_needs_no_start_token():
    cj.resolve(experiment(prompts=cj.Prompts("real", 5, kept=True), family=cj.varied(FAMILY, bos=None, context=8)))


def test_only_tokens_from_loss_from_on_are_learned():
    """Blocks of which the first half is noise and the second one of two patterns, told apart by the fourth token."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(2, 20, (64, 8))
    blocks[:, 3] = rng.integers(0, 2, 64)
    blocks[:, 4:] = np.where(blocks[:, 3:4] == 0, [4, 5, 6, 7], [7, 6, 5, 4])
    family = Transformer(20, 8, 2, 32, 2, loss_from=4, batch=16, budget=Epochs(60), learning_rate=1e-2, weight_decay=0.0)
    params, info = family.fit(jax.random.key(0), family.init(jax.random.key(1), {}), cj.data.Slots.of(jnp.asarray(blocks), 0), {})
    assert float(info["train_loss"]) < 0.05 and family.losses(params, jnp.asarray(blocks)).shape == (64, 4)
    first = Transformer(20, 8, 2, 32, 2, loss_from=1)
    assert float(jnp.mean(first.losses(params, jnp.asarray(blocks))[:, :2])) > 2.5  # noise was not learned


def test_candidates_beyond_the_blocks_begin_again(tmp_path):
    e = experiment(curation=(cj.curation.Repetition(2, 0.99),), oversample=2.0)
    run = cj.run(e, chains=2, out=tmp_path / "r")
    assert run.finished and run.records["prompts"].unique().to_list() == ["prompts"]
    assert {"prompts.blocks", "prompts.length", "prompts.kept"} <= set(run.records.columns)
    assert run.records.filter(pl.col("failed")).is_empty()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"prompts": 5}, "prompts = 5: Prompts"),
        ({"prompts": cj.Prompts("old")}, "prompts.blocks = 'old': one of real, store"),
        ({"prompts": cj.Prompts(length=9)}, "prompts.length = 9: a whole number from 1 to 8"),
        ({"prompts": cj.Prompts(length=8, kept=True)}, "prompts.length = 8: a whole number from 1 to 7"),
        (
            {"prompts": cj.Prompts(), "family": cj.varied(FAMILY, context=12)},
            "family.block = 8: at most 6: this model has 12 positions",
        ),
        (
            {"prompts": cj.Prompts(length=6), "family": cj.varied(FAMILY, context=12)},
            "family.block = 8: at most 7: this model has 12 positions, and prompts of 6",
        ),
        ({"prompts": None, "family": cj.varied(FAMILY, bos=None)}, "prompts = None: given: this model has no start token"),
        ({"family": cj.families.NGram(2, 20)}, "prompts = .*: None: NGram continues nothing"),
    ],
)
def test_what_cannot_be_prompted_is_refused(fields, words):
    e = experiment()
    decoding = None if "family" in fields and isinstance(fields["family"], cj.families.NGram) else e.decoding
    with pytest.raises(cj.ConfigError, match=words):
        cj.resolve(cj.varied(e, decoding=decoding, **fields))
