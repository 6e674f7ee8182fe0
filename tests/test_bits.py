"""Random bits at half the price: uniform, independent of one another, and normals of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry2x32_p
from scipy import stats

from collapse_jax.families.bits import normals, symmetric, threefry, words

KEY = jax.random.key(3)


def test_words_are_uniform_bits_without_repetition():
    found = np.asarray(words(KEY, (2, 50_001)))
    assert found.shape == (2, 50_001) and found.dtype == np.uint32
    ones = np.unpackbits(found.reshape(-1).view(np.uint8)).reshape(-1, 32).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(found.size)  # 32 places: 5 standard errors
    # 100,002 draws of 2^32 meet 1.2 times in mean.
    assert found.size - len(np.unique(found)) < 8
    assert abs(np.corrcoef(found[0, :-1], found[0, 1:])[0, 1]) < 5 / np.sqrt(50_000)


def test_uniforms_lie_inside_and_normals_are_normal():
    u = np.asarray(symmetric(KEY, (3, 20_000)))
    assert -1 < u.min() and u.max() < 1 and stats.kstest(u.ravel(), "uniform", (-1, 2)).pvalue > 1e-4
    z = np.asarray(normals(symmetric(KEY, (3, 20_000))))
    assert np.isfinite(z).all() and stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(z) - np.eye(3)).max() < 5 / np.sqrt(20_000)


def test_random_words_are_those_of_jax():
    words = jax.random.bits(jax.random.key(5), (4, 1000), jnp.uint32)
    for ours, theirs in zip(threefry(*words), threefry2x32_p.bind(*words), strict=True):
        assert (np.asarray(ours) == np.asarray(theirs)).all()
