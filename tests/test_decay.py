"""Half-lives, laws and extrapolation on curves that are known."""

import numpy as np
import pytest

from collapse_jax.decay import decay, extrapolated, half_life

T = np.arange(41)
CURVES = {"exponential": 2 * np.exp(-0.1 * T), "power": 2 * (1.0 + T) ** -0.7, "bounded": 0.5 + 1.5 * np.exp(-0.2 * T)}


def chains(curve, n=200, noise=0.05, seed=0):
    """Chains about a curve, each with an error of its own that stays and one that does not."""
    rng = np.random.default_rng(seed)
    return curve * np.exp(noise * rng.normal(size=(n, 1))) + noise * rng.normal(size=(n, len(curve)))


@pytest.mark.parametrize("law", CURVES)
def test_the_law_is_recognised_with_its_numbers(law):
    found = decay(chains(CURVES[law]))
    assert found.best == law and found.support[law] > 0.9 and abs(sum(found.support.values()) - 1) < 1e-9
    known = {"exponential": (2, 0.1), "power": (2, 0.7), "bounded": (2, 0.2, 0.5)}[law]
    np.testing.assert_allclose(found.numbers[law], known, rtol=0.06)
    assert found.aic[law] <= min(found.aic["exponential"], found.aic["power"])


def test_growth_is_a_law_too():
    found = decay(chains(np.exp(0.05 * T)))
    assert found.best == "exponential" and abs(found.numbers["exponential"][1] + 0.05) < 0.004


def test_half_lives_lie_in_their_intervals():
    found = half_life(chains(CURVES["exponential"]))
    assert abs(found.value - np.log(2) / 0.1) < 0.3 and found.low <= np.log(2) / 0.1 <= found.high
    assert half_life(chains(np.ones(20))).value == np.inf
    np.testing.assert_allclose(half_life(np.array([[4.0, 3.0, 1.0]])).value, 1.5)  # from 3 to 1, half of 4 lies in the middle


def test_extrapolation_holds_the_truth_and_widens():
    inside, widths = 0, []
    for seed in range(40):
        near, far = (extrapolated(chains(CURVES["exponential"][:20], 60, seed=seed), t, seed) for t in (22, 60))
        inside += near.low <= 2 * np.exp(-2.2) <= near.high
        widths.append((near.high - near.low) / abs(near.value) < (far.high - far.low) / abs(far.value))
    assert inside >= 34 and np.mean(widths) > 0.9  # 95 % of 40; 33 or fewer has probability 0.002


@pytest.mark.parametrize("law", CURVES)
def test_far_beyond_the_data_the_interval_still_holds_the_truth(law):
    """20 generations followed to the 60th: without knowing the law."""
    at_60 = {"exponential": 2 * np.exp(-6.0), "power": 2 * 61**-0.7, "bounded": 0.5 + 1.5 * np.exp(-12.0)}[law]
    inside = 0
    for seed in range(40):
        found = extrapolated(chains(CURVES[law][:20], 60, seed=seed), 60, seed)
        inside += found.low <= at_60 <= found.high
    assert inside >= 34  # 35, 35 and 37 here; see above


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="3 chains"):
        decay(np.ones((3, 10)))
