"""Self-BLEU against NLTK's sentence_bleu with the same smoothing, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from zipf_text import check_columns, check_least, check_noise, stocked

from collapse_jax.metrics.bleu import bleu_scores, clipped_matches, self_bleu

KEY = jax.random.key(0)
SCORES = jax.jit(bleu_scores, static_argnums=2)
SELF = jax.jit(self_bleu, static_argnames=("sampled", "order"))
MATCHES = jax.jit(clipped_matches, static_argnums=1)


def text(rows=24, length=15, types=9, seed=0):
    return np.random.default_rng(seed).integers(0, types, (rows, length)).astype(np.int32)


def nltk_scores(x, order=4):
    rows, smooth = x.tolist(), SmoothingFunction(epsilon=0.1).method1
    weights = (1 / order,) * order
    others = [rows[:i] + rows[i + 1 :] for i in range(len(rows))]
    return [sentence_bleu(refs, row, weights, smooth) for refs, row in zip(others, rows, strict=True)]


@pytest.mark.parametrize("types,order", [(3, 4), (9, 4), (60, 4), (9, 3)])
def test_scores_are_nltks(types, order):
    x = text(types=types, seed=types)
    x[5], x[7, 2:] = x[6], x[7, 0]  # two alike, and one that repeats a token more often than any other
    scores = SCORES(jnp.asarray(x), jnp.ones(24, bool), order)
    np.testing.assert_allclose(scores, nltk_scores(x, order), rtol=2e-5)


def test_matches_are_clipped_at_the_most_any_other_sequence_has():
    x = jnp.asarray([[1, 1, 1, 2], [1, 1, 3, 4], [1, 5, 6, 7], [8, 8, 8, 8]])
    np.testing.assert_array_equal(MATCHES(x, 1, jnp.ones(4, bool)), [2, 2, 1, 0])
    np.testing.assert_array_equal(MATCHES(x, 1, jnp.asarray([True, False, True, True])), [1, 0, 1, 0])
    np.testing.assert_array_equal(MATCHES(x, 2, jnp.ones(4, bool)), [1, 1, 0, 0])


def test_scores_by_hand():
    x = jnp.asarray([[1, 2, 3, 4], [1, 2, 5, 6], [7, 8, 9, 10]])
    half = (2 / 4 * 1 / 3 * 0.1 / 2 * 0.1 / 1) ** 0.25
    np.testing.assert_allclose(SCORES(x, jnp.ones(3, bool)), [half, half, 0], rtol=1e-6)
    assert (SCORES(jnp.tile(x[:1], (3, 1)), jnp.ones(3, bool)) == 1).all()
    assert (SCORES(jnp.full((3, 4), 3), jnp.ones(3, bool)) == 1).all()


def test_one_sequence_or_none_scores_nothing():
    x = jnp.asarray(text(3, 4, types=2))
    np.testing.assert_allclose(SELF(x, jnp.ones(3), KEY), np.mean(nltk_scores(np.asarray(x))), rtol=2e-5)
    assert SELF(x, jnp.asarray([0.0, 1, 0]), KEY) == 0
    assert SELF(x, jnp.zeros(3), KEY) == 0
    assert SELF(x[:1], jnp.ones(1), KEY) == 0


def test_a_sample_is_of_sequences_that_are_there():
    x = text(rows=60)
    exact = nltk_scores(x[:20])
    x[20:40], gone = text(rows=20, seed=1), np.where(np.arange(60) < 20, 1.0, 0.0)
    np.testing.assert_allclose(SELF(jnp.asarray(x), gone, KEY, sampled=20), np.mean(exact), rtol=2e-5)
    there = np.where(np.arange(60) < 40, 1.0, 0.0)
    few = [float(SELF(jnp.asarray(x), there, jax.random.key(i), sampled=20)) for i in range(6)]
    assert len(set(few)) == 6 and max(few) < np.mean(nltk_scores(x[:40]))  # fewer references, fewer matches


def test_sequences_shorter_than_the_order_are_refused():
    with pytest.raises(ValueError, match="n-grams of 4 tokens in sequences of 3"):
        jax.eval_shape(self_bleu, jnp.zeros((4, 3), jnp.int32), jnp.ones(4), KEY)


def test_the_column_holds_masks_and_order():
    check_columns(["self_bleu"])


def test_noise_is_as_stated():
    check_noise({"self_bleu": (0.119, 0.0047)})


def test_the_least_number_of_sequences_tells_text_that_repeats_stock_sequences():
    check_least(["self_bleu"], stocked)
