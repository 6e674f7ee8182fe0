"""What is copied from the training text: against plain Python sets of n-grams, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.metrics.copies import copied, copied_run, found, gram_table, novel_n, verbatim

TRAINING = np.random.default_rng(0).integers(0, 8, 900).astype(np.int32)


def text(rows=50, length=24, seed=1):
    """Some of it taken from the training text, in stretches of all lengths."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 8, (rows, length)).astype(np.int32)
    for row in x[::2]:
        size, start, place = rng.integers(4, length + 1), rng.integers(0, 850), rng.integers(0, length)
        row[place : place + size] = TRAINING[start : start + size][: length - place]
    x[0] = TRAINING[100 : 100 + length]
    return x


def gram_set(training, n):
    rows = np.atleast_2d(training)
    return {tuple(row[i : i + n]) for row in rows for i in range(len(row) - n + 1)}


def runs(row, known, n):
    """Tokens of the longest stretch all of whose n-grams are known."""
    best = 0
    for start in range(len(row)):
        for end in range(start + n, len(row) + 1):
            if all(tuple(row[i : i + n]) in known for i in range(start, end - n + 1)):
                best = max(best, end - start)
    return best


@pytest.mark.parametrize("n,blocks", [(1, False), (4, False), (4, True), (20, False)])
def test_novel_and_copied_n_grams_are_those_of_plain_python(n, blocks):
    training = TRAINING.reshape(30, 30) if blocks else TRAINING
    known, table, x = gram_set(training, n), gram_table(training, n), text()
    assert len(table.first) == len(known)
    expected = np.asarray([[tuple(row[i : i + n]) in known for i in range(24 - n + 1)] for row in x])
    weight = np.random.default_rng(2).integers(0, 3, len(x)).astype(np.float32)
    every = lambda x, w, table: (found(x, table), novel_n(x, table), copied_run(x, table), copied(x, table, n + 2, w))
    places, novel, run, share = jax.jit(every)(x, weight, table)
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_allclose(novel, 1 - expected.mean(axis=1), atol=1e-6)
    longest = np.asarray([runs(row, known, n) for row in x])
    np.testing.assert_array_equal(run, longest)
    np.testing.assert_allclose(share, np.average(longest >= n + 2, weights=weight), rtol=1e-6)


def test_verbatim_sequences_are_found_wherever_they_begin():
    table, x = gram_table(TRAINING, 24), text()
    stretches = gram_set(TRAINING, 24)
    inside = np.asarray([tuple(row) in stretches for row in x])
    assert 0 < inside.sum() < 10
    share = jax.jit(lambda w: verbatim(jnp.asarray(x), table, w))
    np.testing.assert_allclose(share(np.ones(50)), inside.mean(), rtol=1e-6)
    assert share(1.0 * inside) == 1 and share(1.0 * ~inside) == 0 and share(np.zeros(50)) == 0


def test_cases_worked_by_hand():
    table = gram_table(np.asarray([1, 2, 3, 4, 5]), 2)
    x = jnp.asarray([[1, 2, 3, 9], [9, 9, 9, 9], [2, 3, 4, 5], [5, 1, 2, 9]])
    every = jax.jit(lambda w: (novel_n(x, table), copied_run(x, table), copied(x, table, 3, w)))
    novel, run, share = every(jnp.ones(4))
    np.testing.assert_allclose(novel, [1 / 3, 1, 0, 2 / 3], rtol=1e-6)
    np.testing.assert_array_equal(run, [3, 0, 4, 2])
    assert share == 0.5 and every(jnp.asarray([1.0, 0, 0, 0]))[2] == 1


def test_one_n_gram_is_a_table_and_the_order_of_sequences_means_nothing():
    table = gram_table(np.full(40, 7), 5)
    assert len(table.first) == 1
    assert jax.jit(novel_n)(jnp.asarray([[7] * 9, [6] * 9]), table).tolist() == [0, 1]
    table, x = gram_table(TRAINING, 4), jnp.asarray(text())
    share = jax.jit(lambda x: copied(x, table, 6, jnp.ones(50)))
    assert share(x) == share(x[::-1]) > 0


def test_nothing_there_is_zero():
    x = jnp.asarray(text())
    assert copied(x, gram_table(TRAINING, 4), 6, jnp.zeros(50)) == 0


def test_lengths_that_cannot_be_are_refused():
    x, weight = jnp.asarray(text()), jnp.ones(50)
    with pytest.raises(ValueError, match="n-grams of 901 tokens in sequences of 900"):
        gram_table(TRAINING, 901)
    with pytest.raises(ValueError, match="n-grams of 25 tokens in sequences of 24"):
        novel_n(x, gram_table(TRAINING, 25))
    with pytest.raises(ValueError, match="stretches of 3 tokens by a table of 4-grams"):
        copied(x, gram_table(TRAINING, 4), 3, weight)
    with pytest.raises(ValueError, match="whole sequences of 24 tokens by a table of 4-grams"):
        verbatim(x, gram_table(TRAINING, 4), weight)
