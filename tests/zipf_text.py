"""The text that text metrics' bias and noise are stated for: independent tokens of a Zipf law; and the same, worn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.registry import REGISTERED

TYPES, LENGTH, DEFAULT = 1000, 64, 512
P = 1 / np.arange(1, TYPES + 1)
P = (P / P.sum()).astype(np.float32)
KEPT = int(np.searchsorted(np.cumsum(P), 0.9))  # the rarest types, 10 % of all tokens, are lost


@functools.partial(jax.jit, static_argnums=(1, 2))
def zipf(key, n, types=TYPES):
    """n sequences of 64 tokens, p ∝ 1/rank over 1,000 types, or over its commonest."""
    edges = jnp.cumsum(jnp.asarray(P[:types] / P[:types].sum()))
    place = jnp.searchsorted(edges, jax.random.uniform(key, (n, LENGTH)))
    return jnp.minimum(place, types - 1).astype(jnp.int32)


def worn(key, n):
    """The same after some collapse: its tail is lost, and one sequence in four says four tokens over and over."""
    x = zipf(key, n, KEPT)
    loops = jax.random.uniform(jax.random.fold_in(key, 1), (n, 1)) < 0.25
    return jnp.where(loops, jnp.tile(x[:, :4], (1, LENGTH // 4)), x)


def draws(function, times, seed=0):
    """function(key) for as many keys, one after the other in one program: an array, or a dictionary of them."""
    return jax.jit(lambda keys: jax.lax.map(function, keys))(jax.random.split(jax.random.key(seed), times))


def stocked(key, n):
    """The same but that one sequence in four is one of 16 that are said over and over."""
    x, stock = zipf(key, n), zipf(jax.random.key(16), 16)
    said = jax.random.randint(jax.random.fold_in(key, 1), (n,), 0, 64)
    return jnp.where((said < 16)[:, None], stock[said % 16], x)


def values(names, make, n, times, seed=0):
    """Columns of so many texts of n sequences: name -> array [times]."""
    chosen = {name: REGISTERED[name].function for name in names}

    def one(key):
        x = make(key, n)
        return {name: f(x, jnp.ones(n), x, key).astype(jnp.float32) for name, f in chosen.items()}

    return {name: np.asarray(found, float) for name, found in draws(one, times, seed).items()}


def check_noise(stated, seed=0):
    """Mean and standard deviation at the default size are those stated (name -> both): 96 texts, 4 standard errors."""
    for name, found in values(stated, zipf, DEFAULT, 96, seed).items():
        mean, deviation = stated[name]
        assert abs(found.mean() - mean) <= 4 * max(deviation, 1e-9) / 96**0.5 + 0.006 * abs(mean), (name, found.mean())
        assert 0.7 * deviation <= found.std(ddof=1) <= 1.3 * deviation, (name, found.std(ddof=1))


def check_least(names, make):
    """With `least` sequences a column tells collapsed text from the source's: means are two deviations of a difference apart.

    48 texts of each: a tenth is left for the deviations' own error.
    """
    for name in names:
        n = REGISTERED[name].least
        healthy, ill = (values([name], how, n, 48, seed)[name] for how, seed in ((zipf, 1), (make, 2)))
        assert abs(healthy.mean() - ill.mean()) > 0.9 * 2 * (healthy.var() + ill.var()) ** 0.5, name


def check_column(name):
    """A sequence of weight 0 is one that is left out, order means nothing, and neither nothing nor one token all over is NaN."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 6, (24, 12)).astype(np.int32)
    x[:3] = np.tile(x[:3, :2], 6)
    weight = (rng.random(24) < 0.6).astype(np.float32)
    f = jax.jit(lambda x, weight: REGISTERED[name].function(x, weight, x, jax.random.key(0)))
    value = f(x, weight)
    assert value.shape == () and np.isfinite(value)
    np.testing.assert_allclose(value, f(x[weight > 0], np.ones(int(weight.sum()), np.float32)), rtol=1e-5)
    order = rng.permutation(24)
    np.testing.assert_allclose(value, f(x[order], weight[order]), rtol=1e-5)
    assert np.isfinite(f(x, np.zeros(24, np.float32)))
    assert np.isfinite(f(np.full((24, 12), 7, np.int32), np.ones(24, np.float32)))
