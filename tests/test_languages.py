"""Zipf–Mandelbrot sources: their law, over states and over blocks."""

import jax
import numpy as np
import pytest
from scipy import stats

import collapse_jax as cj
from collapse_jax.sources import ZipfLanguage, ZipfMandelbrot

KEY = jax.random.key(0)


def test_the_law_over_states():
    for a, b in ((1.0, 2.7), (2.0, 5.0)):
        p = (np.arange(1, 1001) + b) ** -a
        np.testing.assert_allclose(ZipfMandelbrot(a, b, 1000).probabilities(), p / p.sum(), rtol=1e-5)
    drawn = np.asarray(ZipfMandelbrot(1.0, 2.7, 50).draw(KEY, 50_000, {}))
    p = np.asarray(ZipfMandelbrot(1.0, 2.7, 50).probabilities(), float)
    assert stats.chisquare(np.bincount(drawn, minlength=50), 50_000 * p / p.sum()).pvalue > 1e-4


@pytest.mark.parametrize("order", [1, 2])
def test_blocks_follow_the_law_in_every_context(order):
    source = ZipfLanguage(12, 10, a=1.0, b=2.7, order=order, seed=4)
    shared, n = source.load(None), 20_000
    blocks = np.asarray(jax.jit(lambda key: source.draw(key, n, shared))(KEY))
    np.testing.assert_array_equal(blocks[:7], source.draw(KEY, 7, shared))
    table = source.conditional()
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-12)
    assert table.shape == (13 if order == 2 else 1, 12)
    law = np.sort(source.law())
    assert all(np.allclose(np.sort(row), law) for row in table)
    assert stats.chisquare(np.bincount(blocks[:, 0], minlength=12), n * table[-1]).pvalue > 1e-4
    for last in range(12):
        after = np.bincount(blocks[:, 1:][blocks[:, :-1] == last], minlength=12)
        assert stats.chisquare(after, after.sum() * table[last if order == 2 else 0]).pvalue > 1e-5, last
    # Entropy is the mean of -log p, per token: n·10 tokens whose -log p has a deviation below 1.
    found = -np.asarray(source.log_prob(blocks, shared)) / 10
    assert abs(found.mean() - source.entropy()) < 4 * found.std() / np.sqrt(n)


@pytest.mark.parametrize(
    "source, field",
    [
        (ZipfMandelbrot(states=1), "source.states"),
        (ZipfMandelbrot(-1.0), "source.a"),
        (ZipfMandelbrot(1.0, -1.0), "source.b"),
        (ZipfLanguage(1), "source.vocabulary"),
        (ZipfLanguage(4097), "4096 with order 2"),
        (ZipfLanguage(2**20 + 1, order=1), "1048576 with order 1"),
        (ZipfLanguage(10, 1), "source.block"),
        (ZipfLanguage(10, order=3), "source.order"),
        (ZipfLanguage(10, a=float("nan")), "source.a"),
    ],
)
def test_laws_that_cannot_be_are_refused(source, field):
    with pytest.raises(cj.ConfigError, match=field):
        source.validate()


def test_independent_tokens_can_be_of_a_pretrained_models_vocabulary():
    source = ZipfLanguage(50272, 64, order=1)
    source.validate()
    blocks = np.asarray(source.draw(jax.random.key(0), 2000, source.load(None)))
    p = source.law()
    for rank in (0, 1, 9):
        assert abs((blocks == rank).mean() - p[rank]) < 4 * np.sqrt(p[rank] / blocks.size)
    assert 40_000 < blocks.max() < 50272
