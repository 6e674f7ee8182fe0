"""Selection of the samples nearest to a silo's reference: our recursion against plain NumPy chains, and its limits."""

import numpy as np
import pytest

from collapse_jax.theory import gaussian, selection

CHAINS, KEEP, LAST = 10_000, 0.5, 4


def simulated(kept, reference, accumulate, dim=1, seed=0):
    """Mean and variance (a dimension) of every generation's fit: [2, generations + 1, chains], `kept` samples of twice as many."""
    rng, drawn = np.random.default_rng(seed), round(kept / KEEP)
    x = rng.normal(size=(CHAINS, kept, dim))
    sets, out = [], []
    for _ in range(LAST + 1):
        sets = [*sets, x] if accumulate else [x]
        every = np.concatenate(sets, axis=1)
        mean, variance = every.mean(axis=1, keepdims=True), every.var(axis=1, keepdims=True).mean(axis=2, keepdims=True)
        out.append((mean[:, 0, 0], variance[:, 0, 0]))
        x = mean + np.sqrt(variance) * rng.normal(size=(CHAINS, drawn, dim))
        nearest = np.argpartition(((x - reference) ** 2).sum(axis=2), kept - 1, axis=1)[:, :kept]
        x = np.take_along_axis(x, nearest[..., None], axis=1)
    return np.swapaxes(out, 0, 1)


def extrapolated(*args, **kwargs):
    """Means over chains without their error of order 1/M, from 50 and 100 kept samples, and their standard errors: [2, LAST + 1]."""
    small, large = simulated(50, *args, **kwargs), simulated(100, *args, **kwargs, seed=1)
    spread = np.sqrt(4 * large.var(axis=2) + small.var(axis=2)) / np.sqrt(CHAINS)
    return 2 * large.mean(axis=2) - small.mean(axis=2), spread


@pytest.mark.parametrize("accumulate", [False, True], ids=["replace", "accumulate"])
@pytest.mark.parametrize("reference", [0.7, -2.0])
def test_a_silo_draws_chains_to_its_reference(reference, accumulate):
    """10,000 chains. What is left after the extrapolation is 2.2/M² at most (M = 50 and 100, 40,000 chains)."""
    found, error = extrapolated(reference, accumulate)
    law = np.array(selection.siloed(KEEP, reference, LAST, accumulate))
    assert (np.abs(found - law) < 4 * error + 3 / 50**2).all()
    # The reference draws the mean to its side and never past it.
    assert (np.diff(law[0]) * np.sign(reference) > 0).all() and (np.abs(law[0]) < abs(reference)).all()


@pytest.mark.parametrize(("dim", "accumulate"), [(1, False), (1, True), (2, True)])
def test_selection_by_the_mean_narrows_by_a_power(dim, accumulate):
    found, error = extrapolated(0.0, accumulate, dim=dim)
    law = selection.narrowed(KEEP, LAST, accumulate, dim)
    assert (np.abs(found[1] - law) < 4 * error[1] + 3 / 50**2).all()
    if dim == 1:
        np.testing.assert_allclose(law, selection.siloed(KEEP, 0.0, LAST, accumulate)[1], rtol=1e-9)


def test_the_power_of_t():
    for keep in (0.3, 0.8):
        law, c = selection.narrowed(keep, 40_000, True), selection.contraction(keep)
        slope = np.log(law[40_000] / law[20_000]) / np.log(2)
        assert abs(slope + 1 - c) < 1 / 20_000  # the next order of Γ(t+1+c)/Γ(t+2) is O(1/t)


def test_what_is_left_of_the_variance():
    """20,000 nearest of 10⁵ standard normals, and more: within 4 standard errors of their mean square."""
    rng = np.random.default_rng(2)
    for dim, keep in ((1, 0.2), (1, 0.9), (3, 0.5)):
        squares = np.sort((rng.normal(size=(100_000, dim)) ** 2).sum(axis=1))
        kept = squares[: round(keep * 100_000)]
        # The threshold has a standard error too: √(keep (1-keep)/n)/density, which moves the mean by q - mean of it.
        edge = (kept[-1] - kept.mean()) * np.sqrt((1 - keep) / keep / 100_000)
        error = np.hypot(kept.std() / np.sqrt(len(kept)), edge)
        assert abs(kept.mean() - dim * selection.contraction(keep, dim)) < 4 * error
    assert selection.contraction(1.0) == 1


def test_everything_kept_is_no_selection_and_a_far_silo_stops_short():
    mean, variance = selection.siloed(1.0, 3.0, 5, False)
    assert (mean == 0).all() and np.allclose(variance, 1)
    mean, variance = selection.siloed(0.8, 30.0, 300, False)
    assert mean[-1] < 5 and 0 <= variance[-1] < 1e-12  # it collapses before it arrives
    _, pooled = selection.siloed(0.8, 30.0, 300, True)
    assert pooled[-1] > 0.1


def test_selection_speeds_collapse_in_the_order_published():
    """Dispersion at t = 200, n = 300 (Qiao et al.: 1.016, .580, .073, .000) falls in this order in one dimension too."""
    sizes = np.full(201, 300)
    accumulate, replace = gaussian.accumulate(sizes, "unbiased")[0][-1], gaussian.median_variance(sizes, "unbiased")[-1]
    selected = [selection.narrowed(0.8, 200, pooled)[-1] for pooled in (True, False)]
    assert accumulate > 0.99 > 0.6 > replace > 0.5 > 0.1 > selected[0] > 0.02 > 5e-4 > selected[1]
