"""Selection by a reward: the table of Ferbach et al.'s recursion, its limits, and a simulation."""

import numpy as np
import pytest
from scipy import stats

from collapse_jax.theory.selection import selected

P0, REWARD = np.array([0.5, 0.3, 0.2]), np.array([0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (2, (0.2553, 0.3345, 0.4101)),
        (4, (0.1509, 0.2943, 0.5548)),
        (8, (0.1133, 0.2626, 0.6241)),
        (np.inf, (0.0853, 0.2294, 0.6853)),
    ],
)
def test_three_generations_of_known_selections(k, expected):
    np.testing.assert_allclose(selected(P0, REWARD, k, 3)[3], expected, atol=6e-5)


def test_the_limits():
    np.testing.assert_allclose(selected(P0, REWARD, 1, 5)[5], P0, atol=1e-12)
    np.testing.assert_allclose(selected(P0, REWARD, np.inf, 7)[7], (w := P0 * np.exp(7 * REWARD)) / w.sum(), rtol=1e-12)
    np.testing.assert_allclose(selected(P0, REWARD, 3000, 1)[1], selected(P0, REWARD, np.inf, 1)[1], atol=2e-3)
    np.testing.assert_allclose(selected(P0, REWARD + 7, 4, 3), selected(P0, REWARD, 4, 3), rtol=1e-10)
    np.testing.assert_allclose(selected(P0, 0 * REWARD, 4, 3)[3], P0, atol=1e-12)


@pytest.mark.parametrize("k", [2, 5])
def test_a_simulation_agrees(k):
    """A million choices: standard error at most 5e-4."""
    rng, n = np.random.default_rng(k), 1_000_000
    p = np.array([0.1, 0.2, 0.3, 0.4])
    w = np.exp(np.array([2.0, -1.0, 0.3, 0.0]))
    drawn = rng.choice(4, size=(n, k), p=p)
    keep = (w[drawn] / rng.exponential(size=(n, k))).argmax(axis=1)  # Plackett–Luce by exponential clocks
    share = np.bincount(drawn[np.arange(n), keep], minlength=4) / n
    np.testing.assert_allclose(selected(p, np.log(w), k, 1)[1], share, atol=4 * 5e-4)


@pytest.mark.parametrize("spread", [0.0, 3.0, 10.0, 15.0, 30.0, 700.0])
@pytest.mark.parametrize("k", [1, 2, 5, 50, 500])
def test_two_states_by_all_their_samples(spread, k):
    """Of k samples i are of the better state with binomial probability, and one of these is kept with odds i e^spread : k - i."""
    p, i = 0.1, np.arange(k + 1)
    odds = np.where(i > 0, i / np.maximum(i + (k - i) * np.exp(-spread), 1e-300), 0.0)
    expected = float(np.sum(stats.binom.pmf(i, k, p) * odds))
    np.testing.assert_allclose(selected([1 - p, p], [0.0, spread], k, 1)[1], [1 - expected, expected], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        (P0, REWARD, 0.5),
        (P0 / 2, REWARD, 2),
        (P0, REWARD[:2], 2),
        (P0, np.full(3, np.inf), 2),
        (P0, 1001.0 * REWARD, 2),
        ([1.5, -0.5, 0.0], REWARD, 2),
    ],
)
def test_what_is_no_selection_is_refused(wrong):
    with pytest.raises(ValueError):
        selected(*wrong, 1)
