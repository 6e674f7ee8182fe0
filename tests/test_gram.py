"""Statistics of linear regression: their sums, their law against drawn samples, and chains of them under every regime."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made import labelled as data
from scipy import stats

import collapse_jax as cj
from collapse_jax.families import LinearRegression
from collapse_jax.families.gram import Gram, drawn, refitted
from collapse_jax.sources import LinearTask
from collapse_jax.struct import replace

KEY, R = jax.random.key(5), cj.regimes


def test_statistics_of_parts_join_to_those_of_the_whole():
    slots, repeated = data(40, 4, noise=1e-2)
    cut = lambda a, b: jax.tree.map(lambda x: x[a:b], slots)
    whole, first, last = (jax.jit(Gram.of)(part) for part in (slots, cut(0, 15), cut(15, 43)))
    for joined in (first.append(last), Gram.join([first, last], [1.0, 1.0])):
        np.testing.assert_allclose(joined.fitted(0.0), whole.fitted(0.0), atol=1e-5)
        same = joined.around(whole.base)
        np.testing.assert_allclose(same.square, whole.square, rtol=1e-4)  # residuals of 0.01 among labels of 2
        np.testing.assert_allclose(same.inputs, whole.inputs, rtol=1e-5, atol=1e-4)
    tripled = Gram.join([first, last], [3.0, 0.0])
    assert float(tripled.count) == 3 * float(first.weight)
    np.testing.assert_allclose(tripled.fitted(0.1), first.fitted(0.1), atol=1e-5)


def test_drawn_statistics_have_the_law_of_drawn_samples():
    # Fewer samples than dimensions, too: XᵀX is singular there, and a fit leaves no residual.
    number, d = 4000, 3
    weights = jnp.asarray([1.0, -1.0, 0.5])
    keys = jax.random.split(KEY, number)
    draw = jax.jit(jax.vmap(lambda key, count: drawn(key, weights, 0.5, count), (0, None)))
    rng = np.random.default_rng(1)
    for n in (2, 20):
        found = jax.tree.map(np.asarray, draw(keys, jnp.float32(n)))
        x, r = rng.normal(size=(number, n, d)), 0.5 * rng.normal(size=(number, n))
        right = {
            "inputs": np.einsum("cni,cnj->cij", x, x)[:, 1, 2],
            "product": np.einsum("cni,cn->ci", x, r)[:, 1],
            "square": np.sum(r * r, axis=1),
        }
        mine = {"inputs": found.inputs[:, 1, 2], "product": found.product[:, 1], "square": found.square}
        for name in right:
            assert stats.ks_2samp(mine[name], right[name]).pvalue > 1e-4, (n, name)
        assert np.linalg.matrix_rank(found.inputs[0]) == min(n, d)


@pytest.mark.parametrize("d", [1, 10])
def test_a_fit_drawn_alone_is_that_of_drawn_statistics(d):
    weights, keys = jnp.arange(1.0, d + 1), jax.random.split(KEY, 4000)
    both = jax.jit(
        jax.vmap(lambda key: (refitted(key, weights, 0.5, d + 4.0).weights, drawn(key, weights, 0.5, d + 4.0).fitted(0)))
    )
    alone, whole = map(np.asarray, both(keys))
    assert alone.shape == (4000, d)
    for i in (0, d - 1):
        assert stats.ks_2samp(alone[:, i], whole[:, i]).pvalue > 1e-4
    lengths = [np.sum((x - np.asarray(weights)) ** 2, axis=1) for x in (alone, whole)]
    assert stats.ks_2samp(*lengths).pvalue > 1e-4


def chains(e, number, seed=0):
    e = cj.resolve(e)

    def run(key):
        step = lambda chain, t: cj.advance(e, {}, chain, t)
        return jax.lax.scan(step, cj.initial_chain(e, {}, key), jnp.arange(e.generations + 1))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(seed), number)))


@pytest.mark.parametrize(
    "regime", [R.Replace(), R.Accumulate(), R.Fresh(20), R.Weighted(0.6), R.Mix(0.5, 0.0, 0.5, kept="fresh")]
)
def test_raw_samples_and_statistics_agree_in_law(regime):
    number, base = 1500, cj.Experiment(LinearTask(3, 0.7), LinearRegression(3), regime, 12, 3)
    family = base.family
    raw, exact = (
        chains(replace(base, family=replace(family, statistics=kept)), number, seed) for seed, kept in enumerate((False, True))
    )
    for name in ("mean_sq_error", "weight_norm"):
        for t in range(4):
            assert stats.ks_2samp(raw[name][:, t], exact[name][:, t]).pvalue > 1e-4, (name, t)
