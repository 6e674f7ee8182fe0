"""The training loop of neural families: order of samples, weights, schedules, slices, early stopping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families.budget import Epochs, Steps
from collapse_jax.families.training import Trained, passed
from collapse_jax.struct import replace, struct

KEY = jax.random.key(0)


@struct
class Line(Trained):
    """A number fitted to numbers by least squares."""


def fitted(line, samples, weight=None, start=0.0, held_out=0.0):
    n = len(samples)
    train = Slots(jnp.asarray(samples), jnp.ones(n) if weight is None else jnp.asarray(weight), jnp.zeros(n, jnp.int32))
    loss = lambda params, batch, key: jnp.mean((params["x"] - batch) ** 2)
    validation = lambda params: jnp.mean((params["x"] - held_out) ** 2)
    params, info = jax.jit(lambda key: line.train(key, {"x": jnp.float32(start)}, train, loss, validation))(KEY)
    return float(params["x"]), {name: float(value) for name, value in info.items()}


def test_a_pass_shows_every_filled_slot_once_in_a_new_order():
    train = Slots(jnp.arange(10.0), jnp.asarray([1.0] * 7 + [0.0] * 3), jnp.zeros(10, jnp.int32))
    orders = [np.asarray(passed(jax.random.key(i), train))[:7].tolist() for i in range(5)]
    assert all(sorted(order) == list(range(7)) for order in orders) and len(set(map(str, orders))) == 5


def test_weights_say_how_often_a_slot_is_drawn():
    weight = jnp.asarray([0.5, 2.25, 0.0, 1.0, 0.25, 0.0])
    train = Slots(jnp.arange(6.0), weight, jnp.zeros(6, jnp.int32))
    passes = 4000
    orders = np.asarray(jax.jit(jax.vmap(lambda key: passed(key, train)))(jax.random.split(KEY, passes)))[:, :4]
    counts = np.stack([(orders == i).sum(axis=1) for i in range(6)], axis=1)
    expected = np.asarray(weight)  # four filled slots, weights of mean 1
    assert ((counts == np.floor(expected)) | (counts == np.ceil(expected))).all()
    error = np.sqrt((expected % 1) * (1 - expected % 1) / passes)
    assert (np.abs(counts.mean(axis=0) - expected) <= 4 * error).all()
    # Where in a pass a sample comes has nothing to do with its weight.
    first, last = (orders[:, 0] == 1).mean(), (orders[:, -1] == 1).mean()
    assert abs(first - last) < 4 * np.sqrt(2 * 0.25 / passes)


def test_a_weighted_fit_has_the_weighted_mean():
    line = Line(batch=2, budget=Epochs(400), learning_rate=0.02, schedule="cosine", final_rate=0.0, weight_decay=0.0)
    x, info = fitted(line, [0.0, 1.0, 5.0, 9.0], [3.0, 1.0, 0.0, 0.0])
    assert abs(x - 0.25) < 0.02 and info["steps"] == 400


def test_slices_of_a_batch_sum_to_its_gradient():
    samples = np.random.default_rng(0).normal(size=32).astype(np.float32)
    whole, sliced = (fitted(Line(batch=16, budget=Steps(20), accumulate=n), samples) for n in (1, 8))
    np.testing.assert_allclose(whole[0], sliced[0], rtol=1e-5)
    np.testing.assert_allclose(whole[1]["train_loss"], sliced[1]["train_loss"], rtol=1e-5)


def test_training_stops_when_validation_no_longer_improves():
    """From 0 towards 1 past the held-out 0.3: the looks after it are worse, and after two of them training ends."""
    line = Line(
        batch=4, budget=Steps(400), evaluations=100, learning_rate=0.02, schedule="constant", weight_decay=0.0, warmup=0.0
    )
    x, info = fitted(replace(line, patience=2, select="best"), [1.0] * 4, held_out=0.3)
    # Adam's step is the rate, 0.02, at first; a look is every 4 steps.
    assert abs(x - 0.3) <= 0.08 and info["steps"] <= 28 and info["validation_loss"] == pytest.approx((x - 0.3) ** 2, abs=1e-6)
    late, info = fitted(replace(line, patience=2), [1.0] * 4, held_out=0.3)
    assert late > x + 0.1 and info["steps"] <= 28 and 0 < info["train_loss"] < 1
    assert fitted(line, [1.0] * 4)[1]["steps"] == 400


def test_l2_decay_is_part_of_the_gradient_and_decoupled_decay_is_not():
    """At the optimum of a flat loss Adam divides a gradient by its size: L2 decay moves by the rate, decoupled by rate × decay."""
    flat = lambda params, batch, key: 0.0 * params["x"]
    line = Line(batch=1, budget=Steps(1), learning_rate=0.1, schedule="constant", weight_decay=0.01, warmup=0.0)
    train = Slots(jnp.zeros(1), jnp.ones(1), jnp.zeros(1, jnp.int32))
    moved = lambda line: 1 - float(line.train(KEY, {"x": jnp.float32(1)}, train, flat, None)[0]["x"])
    np.testing.assert_allclose(moved(line), 0.1 * 0.01, rtol=1e-3)
    np.testing.assert_allclose(moved(replace(line, decay="l2")), 0.1, rtol=1e-3)


def test_adams_numbers_are_leaves_and_do_as_the_paper_says():
    """Three steps of Kingma & Ba's algorithm 1, written out in NumPy, for two recipes in one compiled program."""
    samples, traces = np.asarray([1.0, -2.0, 4.0], np.float32), []
    train = Slots(jnp.asarray(samples), jnp.ones(3), jnp.zeros(3, jnp.int32))

    def loss(params, batch, key):
        traces.append(1)
        return jnp.mean((params["x"] - batch) ** 2)

    line = Line(batch=3, budget=Steps(3), schedule="constant", weight_decay=0.0, warmup=0.0, clip=float("inf"))
    fit = jax.jit(lambda line: line.train(KEY, {"x": jnp.float32(0)}, train, loss, None)[0]["x"])
    for b1, b2, eps in ((0.9, 0.99, 1e-8), (0.5, 0.7, 0.3)):
        x = first = second = 0.0
        for t in (1, 2, 3):
            slope = 2 * (x - samples.mean())
            first, second = b1 * first + (1 - b1) * slope, b2 * second + (1 - b2) * slope**2
            x -= 0.1 * (first / (1 - b1**t)) / (np.sqrt(second / (1 - b2**t)) + eps)
        numbers = {"learning_rate": 0.1, "b1": b1, "b2": b2, "eps": eps}
        np.testing.assert_allclose(fit(replace(line, **numbers)), x, rtol=1e-5)
    assert len(traces) == 1


def test_the_rate_rises_and_falls_as_said():
    family = Line(learning_rate=1.0, warmup=0.1, final_rate=0.1)
    rates = [float(family.rate(jnp.int32(i), jnp.int32(100))) for i in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-5)
    assert max(rates) == 1 and abs(rates[-1] - 0.1) < 0.001
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))
    flat = replace(family, schedule="constant")
    assert float(flat.rate(jnp.int32(99), jnp.int32(100))) == 1


@pytest.mark.parametrize(
    "change, field",
    [
        ({"batch": 0}, "family.batch"),
        ({"accumulate": 5}, "family.accumulate"),
        ({"patience": 0}, "family.patience"),
        ({"decay": "none"}, "family.decay"),
        ({"select": "first"}, "family.select"),
        ({"b2": 1.0}, "family.b2"),
        ({"b1": -0.1}, "family.b1"),
        ({"eps": float("nan")}, "family.eps"),
        ({"budget": 3}, "family.budget"),
        ({"learning_rate": float("inf")}, "family.learning_rate"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(change, field):
    Line().check_recipe()
    with pytest.raises(ConfigError, match=field):
        Line(**change).check_recipe()


@pytest.mark.parametrize("name", ["flow", "vae", "transformer"])
def test_networks_stay_in_single_precision_where_all_else_is_double(name):
    """With --x64: validation, clipping, decay and the schedule's numbers must not change the parameters' type."""
    recipe = {"batch": 8, "budget": Steps(3), "select": "best", "patience": 2, "decay": "l2"}
    source, family = {
        "flow": (cj.sources.TwoMoons(), cj.families.Flow(width=8, layers=1, sampling_steps=2, **recipe)),
        "vae": (cj.sources.Normal(2), cj.families.VAE("mlp", 1, "gaussian", hidden=(8,), **recipe)),
        "transformer": (cj.sources.ZipfLanguage(9, 8), cj.families.Transformer(9, 8, 1, 8, 1, test_blocks=4, **recipe)),
    }[name]
    with jax.enable_x64(True):
        e = cj.resolve(cj.Experiment(source, family, cj.regimes.Replace(), 16, 1))
        shared = e.source.load(None)
        chain = cj.initial_chain(e, shared, jax.random.key(0))
        step = jax.jit(lambda chain, t: cj.advance(e, shared, chain, t))
        for t in range(2):
            chain, record = step(chain, t)
        net = chain.params["net"] if name == "flow" else chain.params
        assert {x.dtype for x in jax.tree.leaves(net)} == {jnp.dtype("float32")}
        assert all(np.isfinite(x).all() for x in record.values()) and "validation_loss" in record
