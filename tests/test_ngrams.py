"""n-grams of generated text: counts, entropy, type-token ratio and diversity against plain Python and SciPy."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy, hypergeom
from zipf_text import P, check_columns, check_least, check_noise, worn

from collapse_jax.metrics.ngrams import counts, diversity, ngram_entropy, repetition, type_token_ratio
from collapse_jax.metrics.registry import of_kind

NAMES = [f"{kind}_{n}" for kind, orders in (("distinct", (1, 2, 3)), ("rep", (2, 3, 4)), ("entropy", (1, 2, 3))) for n in orders]
NAMES += ["diversity", "type_token_ratio"]


COUNTS = jax.jit(counts, static_argnums=1)
ENTROPY = jax.jit(ngram_entropy, static_argnums=1)
RATIO = jax.jit(type_token_ratio, static_argnums=2)
DIVERSITY = jax.jit(diversity)
SEQ_REP = of_kind("tokens")["seq_rep_4"]


def text(rows=40, length=20, types=12, seed=0):
    return np.random.default_rng(seed).integers(0, types, (rows, length)).astype(np.int32)


def grams_of(row, n):
    return [tuple(row[i : i + n]) for i in range(len(row) - n + 1)]


def column(name, x):
    return float(jax.jit(of_kind("tokens")[name])(jnp.asarray(x), jnp.ones(len(x)), None, None))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_counts_and_entropy_are_those_of_plain_python(n):
    x = text()
    weight = np.random.default_rng(1).integers(0, 4, len(x)).astype(np.float32)
    expected = Counter()
    for row, w in zip(x, weight, strict=True):
        for gram in grams_of(row, n):
            expected[gram] += w
    found = np.asarray(COUNTS(jnp.asarray(x), n, jnp.asarray(weight)))
    np.testing.assert_array_equal(np.sort(found[found > 0]), np.sort([c for c in expected.values() if c > 0]))
    value = ENTROPY(jnp.asarray(x), n, jnp.asarray(weight))
    np.testing.assert_allclose(value, entropy(list(expected.values())), rtol=1e-5)
    repeated = np.repeat(x, weight.astype(int), axis=0)
    np.testing.assert_allclose(value, ENTROPY(jnp.asarray(repeated), n, jnp.ones(len(repeated))), rtol=1e-5)


def test_entropy_of_cases_worked_by_hand():
    two = jnp.asarray([[0, 1, 0, 1]])
    np.testing.assert_allclose(ENTROPY(two, 1, jnp.ones(1)), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(ENTROPY(two, 2, jnp.ones(1)), np.log(3) - 2 / 3 * np.log(2), rtol=1e-6)
    assert ENTROPY(jnp.full((9, 7), 3), 2, jnp.ones(9)) == 0
    assert ENTROPY(two, 2, jnp.zeros(1)) == 0


def test_type_token_ratio_is_the_mean_over_all_draws():
    x, budget = text(rows=30, types=200, seed=2) ** 2 // 200, 64
    count = np.unique(x, return_counts=True)[1]
    seen = 1 - hypergeom(x.size, count, budget).pmf(0)
    np.testing.assert_allclose(RATIO(jnp.asarray(x), jnp.ones(30), budget), seen.sum() / budget, rtol=2e-5)


def test_type_token_ratio_by_hand_and_where_tokens_are_few():
    x = jnp.asarray([[0, 0, 1, 2]])
    # Of six pairs, one has one type.
    np.testing.assert_allclose(RATIO(x, jnp.ones(1), 2), (5 * 2 + 1) / 6 / 2, rtol=1e-6)
    np.testing.assert_allclose(RATIO(x, jnp.ones(1)), 3 / 4, rtol=1e-6)
    np.testing.assert_allclose(RATIO(jnp.full((3, 5), 4), jnp.ones(3)), 1 / 15, rtol=1e-6)
    assert RATIO(x, jnp.zeros(1)) == 0


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_columns_of_distinct_and_repeated_n_grams_are_those_of_plain_python(n):
    x = text(types=4, seed=3)
    if n < 4:
        every = [gram for row in x for gram in grams_of(row, n)]
        np.testing.assert_allclose(column(f"distinct_{n}", x), len(set(every)) / len(every), rtol=1e-6)
    if n > 1:
        repeated = [1 - len(set(grams_of(row, n))) / len(grams_of(row, n)) for row in x]
        np.testing.assert_allclose(column(f"rep_{n}", x), np.mean(repeated), rtol=1e-5)


@pytest.mark.parametrize("prompt", [0, 3, 16])
def test_seq_rep_4_is_that_of_plain_python_behind_the_prompt(prompt):
    x, weight = text(types=3, seed=5), np.random.default_rng(6).integers(0, 3, 40).astype(np.float32)
    x[:, : prompt // 2] = 9  # what only the prompt repeats does not count
    alone = [grams_of(row[prompt:], 4) for row in x]
    expected = np.average([1 - len(set(grams)) / len(grams) for grams in alone], weights=weight)
    of = lambda x, weight: jax.jit(lambda x, w: SEQ_REP(x, w, None, None, {"prompt": prompt}))(
        jnp.asarray(x), jnp.asarray(weight)
    )
    np.testing.assert_allclose(of(x, weight), expected, rtol=1e-5, atol=1e-7)
    repeated = x.repeat(weight.astype(int), axis=0)
    np.testing.assert_allclose(of(repeated, np.ones(len(repeated))), expected, rtol=1e-5, atol=1e-7)
    if prompt == 0:
        assert float(of(x, weight)) == float(jax.jit(lambda x, w: repetition(x, w)["rep_4"])(jnp.asarray(x), jnp.asarray(weight)))


def test_seq_rep_4_by_hand():
    """Behind five tokens, 1 2 1 2 1 2 1 has four 4-grams, two of them different; the whole has nine, six of them different."""
    x = jnp.asarray([[7, 7, 7, 7, 7, 1, 2, 1, 2, 1, 2, 1]])
    of = lambda x, prompt: float(SEQ_REP(x, jnp.ones(len(x)), None, None, {"prompt": prompt}))
    assert of(x, 5) == 1 / 2 and np.isclose(of(x, 0), 3 / 9)
    assert of(x, 8) == 0 and of(x[:, :4], 0) == 0  # one 4-gram
    assert float(SEQ_REP(x, jnp.zeros(1), None, None, {"prompt": 5})) == 0
    assert np.isclose(of(jnp.full((2, 9), 3), 0), 5 / 6)
    with pytest.raises(ValueError, match="n-grams of 4 tokens in sequences of 3"):
        of(x, 9)


def test_diversity_is_the_product_of_what_is_not_repeated():
    x = text(types=4, seed=4)
    np.testing.assert_allclose(DIVERSITY(jnp.asarray(x), jnp.ones(40)), np.prod([1 - column(f"rep_{n}", x) for n in (2, 3, 4)]))
    # Of five 2-grams, four 3-grams and three 4-grams, one is different.
    np.testing.assert_allclose(DIVERSITY(jnp.zeros((2, 6), jnp.int32), jnp.ones(2)), 1 / 5 / 4 / 3, rtol=1e-6)
    assert DIVERSITY(jnp.asarray(x), jnp.zeros(40)) == 1


def test_sequences_shorter_than_n_are_refused():
    short = jnp.zeros((4, 3), jnp.int32)
    for name in ("rep_4", "diversity"):
        with pytest.raises(ValueError, match="n-grams of 4 tokens in sequences of 3"):
            jax.eval_shape(of_kind("tokens")[name], short, jnp.ones(4), None, None)
    for n in (0, 4):
        with pytest.raises(ValueError, match="from 1 to their length"):
            counts(short, n, jnp.ones(4))


def test_columns_hold_masks_and_order():
    check_columns(NAMES)


def test_bias_and_noise_are_as_stated():
    true = -np.sum(P.astype(float) * np.log(P.astype(float)))
    check_noise(
        {
            "distinct_1": (0.0305, 0.00004),
            "distinct_2": (0.547, 0.0034),
            "distinct_3": (0.914, 0.0024),
            "rep_2": (0.0233, 0.0009),
            "rep_3": (0.00106, 0.00018),
            "rep_4": (0.000075, 0.00005),
            "diversity": (0.9756, 0.0010),
            "type_token_ratio": (0.1705, 0.0008),
            "entropy_1": (true - 0.017, 0.012),
            "entropy_2": (2 * true - 1.38, 0.015),
            "entropy_3": (3 * true - 5.39, 0.006),
        }
    )


def test_the_least_number_of_sequences_tells_worn_text():
    check_least(NAMES, worn)
