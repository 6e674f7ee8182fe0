"""The text that text metrics' bias and noise are stated for: independent tokens of a Zipf law; and the same, worn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.registry import of_kind

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


def stocked(key, n):
    """The same as `zipf` but that one sequence in four is one of 16 that are said over and over."""
    x, stock = zipf(key, n), zipf(jax.random.key(16), 16)
    said = jax.random.randint(jax.random.fold_in(key, 1), (n,), 0, 64)
    return jnp.where((said < 16)[:, None], stock[said % 16], x)


def draws(function, times, seed=0):
    """function(key) for as many keys, one after the other in one program: an array, or a dictionary of them."""
    return jax.jit(lambda keys: jax.lax.map(function, keys))(jax.random.split(jax.random.key(seed), times))


def values(names, makes, n, times, seed=0):
    """Columns of so many texts of n sequences by each of `makes`, in one program: name -> array [times, makes]."""
    chosen = {name: of_kind("tokens")[name] for name in names}

    def one(key):
        texts = jnp.stack([make(jax.random.fold_in(key, i), n) for i, make in enumerate(makes)])
        columns = lambda x: {name: f(x, jnp.ones(n), x, key).astype(jnp.float32) for name, f in chosen.items()}
        return jax.lax.map(columns, texts)

    return {name: np.asarray(found, float) for name, found in draws(one, times, seed).items()}


def check_noise(stated):
    """Mean and standard deviation at the default size are those stated (name -> both): 64 texts, 4 standard errors.

    Means are stated to 0.5 %.
    """
    for name, found in values(stated, [zipf], DEFAULT, 64).items():
        mean, deviation = stated[name]
        assert abs(found.mean() - mean) <= 4 * deviation / 8 + 0.005 * abs(mean), (name, found.mean())
        assert abs(found.std(ddof=1) - deviation) <= 4 * deviation / 128**0.5, (name, found.std(ddof=1))


def check_least(names, make):
    """With `least` sequences a column tells collapsed text from the source's: means are two deviations of a difference apart.

    48 texts of each: a tenth is left for the deviations' own error.
    """
    (n,) = {of_kind("tokens")[name].least for name in names}
    for name, found in values(names, [zipf, make], n, 48, seed=1).items():
        assert abs(np.diff(found.mean(axis=0))) > 0.9 * 2 * found.var(axis=0).sum() ** 0.5, name


def check_columns(names):
    """A sequence of weight 0 is one that is left out, order means nothing, and neither nothing nor one token all over is NaN."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 6, (24, 12)).astype(np.int32)
    x[:3] = np.tile(x[:3, :2], 6)
    weight = np.ones(24, np.float32)
    weight[[1, 5, 6, 20]] = 0
    chosen = {name: of_kind("tokens")[name] for name in names}
    every = jax.jit(lambda x, weight: {name: f(x, weight, x, jax.random.key(0)) for name, f in chosen.items()})
    values = every(x, weight)
    alone = every(x[weight > 0], np.ones(20, np.float32))
    order = rng.permutation(24)
    shuffled = every(x[order], weight[order])
    none, same = every(x, np.zeros(24, np.float32)), every(np.full((24, 12), 7, np.int32), np.ones(24, np.float32))
    for name, value in values.items():
        assert value.shape == () and np.isfinite([value, none[name], same[name]]).all(), name
        np.testing.assert_allclose(value, alone[name], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(value, shuffled[name], rtol=1e-5, err_msg=name)
