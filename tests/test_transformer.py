"""The language-model family: its fit, its measure of perplexity, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families import Epochs, Steps, Transformer
from collapse_jax.struct import replace

pytestmark = pytest.mark.usefixtures("lightly")

SMALL = {"vocabulary": 12, "block": 8, "layers": 1, "width": 32, "heads": 2, "batch": 4}


def fitted(family, train, shared=None, seed=0):
    key = jax.random.key(seed)
    return jax.jit(lambda params: family.fit(key, params, train, shared or {}))(family.init(key, {}))


def test_a_set_that_can_be_memorised_is():
    family = Transformer(**SMALL, budget=Steps(300), weight_decay=0.0, learning_rate=1e-2)
    tokens = jax.random.randint(jax.random.key(1), (4, 8), 0, 12).at[:, 0].set(jnp.arange(4))
    params, info = fitted(family, Slots.of(tokens, 0))
    losses = family.losses(params, tokens)
    # Only the first token of four equally likely blocks cannot be known: ln 4 at most.
    assert float(jnp.max(losses[:, 1:])) < 0.3 and float(jnp.mean(losses[:, 4:])) < 0.01
    assert int(info["steps"]) == 300 and float(info["train_loss"]) < 0.5


def test_empty_slots_are_never_seen():
    family = Transformer(**SMALL, budget=Epochs(5))
    tokens = jax.random.randint(jax.random.key(1), (12, 8), 0, 12)
    other = tokens.at[5:].set(0)
    for count, same in ((5, True), (6, False)):
        a, info = fitted(family, Slots.of(tokens, 0, count=count))
        b, _ = fitted(family, Slots.of(other, 0, count=count))
        assert int(info["steps"]) == 5 * 2
        assert all(bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)) == same


def test_a_weight_keeps_its_meaning_in_batches_of_one():
    """Two blocks that contradict each other, weighted 3 to 1: the optimum gives them probabilities .75 and .25."""
    family = Transformer(**{**SMALL, "batch": 1}, budget=Steps(600), weight_decay=0.0, learning_rate=3e-3, clip=float("inf"))
    tokens = jnp.asarray([[1] * 8, [2] * 8])
    train = Slots(tokens, jnp.asarray([3.0, 1.0]), jnp.zeros(2, jnp.int32))
    params, _ = fitted(family, train)
    share = float(jnp.exp(-family.losses(params, tokens)[0, 0]))
    assert abs(share - 0.75) < 0.08  # steps of one block each keep it swinging about the optimum


def test_perplexity_is_the_exponential_of_the_total_over_the_tokens():
    family = Transformer(**SMALL)
    params = jax.tree.map(lambda x: 10 * x, family.init(jax.random.key(0), {}))
    test = jax.random.randint(jax.random.key(1), (2, 8), 0, 12)
    measured = family.measure(
        jax.random.key(0), params, Slots.of(test, 1), {"source": cj.sources.ZipfLanguage(12, 8), "test": test}
    )
    logits = family.logits(params, test)
    scores = jax.nn.log_softmax(logits[:, :-1])
    by_hand = -np.take_along_axis(np.asarray(scores), np.asarray(test)[:, 1:, None], 2).sum()
    first = float(jnp.sum(family.losses(params, test)[:, 0]))
    np.testing.assert_allclose(measured["perplexity"], np.exp((by_hand + first) / 16), rtol=1e-4)
    np.testing.assert_allclose(family.log_prob(params, test, {}).sum(), -(by_hand + first), rtol=1e-4)
    assert {"distinct_2", "rep_4"} <= set(measured)


def test_the_best_parameters_on_validation_are_kept():
    """Trained on noise, a model's validation loss rises at once: the best is an early one, the last is worse."""
    tokens = jax.random.randint(jax.random.key(1), (8, 8), 0, 12)
    shared = {"source": cj.sources.ZipfLanguage(12, 8), "validation": jax.random.randint(jax.random.key(2), (16, 8), 0, 12)}
    last = Transformer(**SMALL, budget=Steps(120), learning_rate=1e-2)
    best = replace(last, select="best", evaluations=12)
    score = lambda params: float(jnp.mean(last.losses(params, shared["validation"])))
    (at_last, _), (at_best, info) = fitted(last, Slots.of(tokens, 0)), fitted(best, Slots.of(tokens, 0), shared)
    np.testing.assert_allclose(score(at_best), info["validation_loss"], rtol=1e-5)
    assert score(at_best) < score(at_last) - 0.1


def test_half_precision_and_dropout_train():
    family = Transformer(**SMALL, dtype="bfloat16", dropout=0.1, budget=Steps(60), learning_rate=1e-2, positions="rotary")
    tokens = jnp.tile(jnp.arange(8), (4, 1))
    params, info = fitted(family, Slots.of(tokens, 0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert float(jnp.mean(family.losses(params, tokens))) < 0.5


@pytest.mark.parametrize(
    "change, field",
    [
        ({"heads": 3}, "family.heads"),
        ({"width": 0}, "family.width"),
        ({"positions": "sine"}, "family.positions"),
        ({"dtype": "float16"}, "family.dtype"),
        ({"dropout": 1.0}, "family.dropout"),
        ({"learning_rate": -1.0}, "family.learning_rate"),
        ({"learning_rate": float("nan")}, "family.learning_rate"),
        ({"warmup": 2.0}, "family.warmup"),
        ({"clip": 0.0}, "family.clip"),
        ({"budget": 5}, "family.budget"),
        ({"vocabulary": 300}, "family.vocabulary"),
        ({"block": 16}, "family.block"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(change, field):
    source = cj.sources.Text("kjv", cj.sources.Bytes(), 8)
    family = Transformer(vocabulary=256, block=8, width=32, layers=1)
    good = cj.Experiment(source, family, cj.regimes.Replace(), 16, 1)
    cj.resolve(good)
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.varied(good, family=replace(family, **change)))
    assert error.value.field == field
    with pytest.raises(cj.ConfigError, match="decoding.top_k"):
        cj.resolve(cj.varied(good, decoding=cj.decoding.Ancestral(top_k=257)))


def test_dropout_of_embeddings_alone_is_applied():
    blocks = Slots.of(jax.random.randint(jax.random.key(0), (16, 8), 0, 12), 0)
    losses = [
        float(fitted(Transformer(**SMALL, budget=Steps(3), dropout=0.0, embedding_dropout=rate), blocks)[1]["train_loss"])
        for rate in (0.0, 0.9)
    ]
    assert abs(losses[0] - losses[1]) > 1e-3


@pytest.mark.parametrize("scaling", [("yarn", 2.0), ("linear",), ("linear", 0.0), {"linear": 2.0}, ("llama3", 8.0)])
def test_rotary_scalings_that_are_none_are_refused(scaling):
    with pytest.raises(cj.ConfigError, match="family.rope_scaling = .*numbers above 0"):
        Transformer.of("llama", **SMALL, rope_scaling=scaling).check_network()
