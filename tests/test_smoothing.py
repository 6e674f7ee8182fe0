"""Smoothing of n-gram counts (test_ngram compares it with NLTK's): interpolation by hand, limits, empty rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families import AddK, JelinekMercer, NGram, WittenBell
from collapse_jax.families.smoothing import longer

KEY = jax.random.key(0)
V, BLOCK = 7, 9
TABLES = [jnp.asarray([[3.0, 1.0, 0.0]]), jnp.asarray([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])]


def tokens(n=20, seed=0, most=V - 1):
    """Blocks that leave the last token, and many contexts, unseen."""
    return np.random.default_rng(seed).integers(0, most, (n, BLOCK)) // 2 * 2 % most


def fitted(family, samples, weight=None):
    train = Slots(jnp.asarray(samples), jnp.ones(len(samples)) if weight is None else jnp.asarray(weight), None)
    return family.fit(KEY, family.init(KEY, {}), train, {})[0]


def test_interpolation_is_the_weighted_sum_of_the_orders():
    weights = (0.5, 0.3, 0.15, 0.05)
    family = NGram(3, V, JelinekMercer(weights), BLOCK)
    p = np.asarray(family.conditional(fitted(family, tokens())))
    alone = [NGram(m, V, AddK(0.0), BLOCK) for m in (3, 2, 1)]
    parts = [np.asarray(f.conditional(fitted(f, tokens()))) for f in alone]
    by_hand = sum(w * np.tile(part, (len(p) // len(part), 1)) for w, part in zip(weights, parts)) + weights[-1] / V
    np.testing.assert_allclose(p, by_hand, rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_small_tables_by_hand():
    plain = np.asarray(AddK(0.0).probabilities(TABLES))
    np.testing.assert_allclose(plain, [[2 / 3, 1 / 3, 0], [1 / 3] * 3, [1, 0, 0], [1 / 3] * 3], rtol=1e-6)
    np.testing.assert_allclose(AddK(1.0).probabilities(TABLES)[0], [0.5, 1 / 3, 1 / 6], rtol=1e-6)
    np.testing.assert_allclose(AddK(1e8).probabilities(TABLES), np.full((4, 3), 1 / 3), rtol=1e-6)
    # Witten–Bell: 3 counts of 2 kinds in the first row, 1 of 1 in the third; the others are the shorter context's.
    wb = [[(2 + 2 * 0.75) / 5, (1 + 2 * 0.25) / 5, 0], [0.75, 0.25, 0], [(1 + 0.75) / 2, 0.25 / 2, 0], [0.75, 0.25, 0]]
    np.testing.assert_allclose(WittenBell().probabilities(TABLES), wb, rtol=1e-6)
    np.testing.assert_array_equal(longer(jnp.asarray([[1.0], [2.0]]), 4)[:, 0], [1, 2, 1, 2])


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.5, -0.5, 0.0), ("a", 0, 1)])
def test_weights_that_are_no_shares_are_refused(weights):
    with pytest.raises(ConfigError, match="smoothing.weights"):
        JelinekMercer(weights).validate(2)
    JelinekMercer((0.5, 0.5, 0.0)).validate(2)
