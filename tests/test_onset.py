"""Onset: false alarms of null runs, the moment of a known shift, recovery, and what too few chains can say."""

import numpy as np
import pytest

from collapse_jax.onset import differences, fewest, onset, ranked, returns, shuffled


def walks(rng, chains, generations=50, drift=0.0, start=0, law="normal"):
    """Metrics that depend on their past, [chains, generations], shifted by `drift` a generation from `start` on."""
    steps = rng.standard_t(2, (chains, generations)) if law == "heavy" else rng.normal(size=(chains, generations))
    x = np.cumsum(steps, axis=1) if law == "walk" else steps
    return x + drift * np.maximum(np.arange(generations) - start, 0)


@pytest.mark.parametrize("law", ["normal", "heavy", "walk"])
@pytest.mark.parametrize("sizes", [(100, 100), (20, 8), (4, 10), (4, 8), (5, 5), (1, 200)])
def test_false_alarms_are_as_rare_as_the_level_says(law, sizes):
    """200 null runs of 50 generations: at most 2 % by expectation; 8 in 200 has probability 1e-3 at 1 %."""
    rng, alarms = np.random.default_rng(1), 0
    for i in range(200):
        found = onset(walks(rng, sizes[0], law=law), walks(rng, sizes[1], law=law), seed=i)
        alarms += found.verdict == "yes"
    assert alarms <= 7


def test_a_band_at_each_generation_alone_would_not_do():
    """With 50 generations the pointwise 99 % band is left by chance in most runs."""
    rng, alarms, limit = np.random.default_rng(2), 0, 2.576
    for _ in range(100):
        pooled = ranked(np.concatenate([walks(rng, 50), walks(rng, 50)]))
        z = differences(np.r_[np.full(50, 0.02), np.full(50, -0.02)][None], pooled, 50, 50)
        alarms += (np.abs(z) > limit).any()
    assert alarms > 25
    rng = np.random.default_rng(3)
    assert np.quantile(shuffled(ranked(walks(rng, 100)), 50, 50, rng), 0.99) > 3.2


def test_a_shift_is_found_soon_after_it_begins_and_its_interval_holds_it():
    rng = np.random.default_rng(4)
    found = onset(walks(rng, 200, drift=0.3, start=20), walks(rng, 200))
    assert found.verdict == "yes" and found.direction == "up" and 21 <= found.generation <= 24
    assert 20 <= found.low <= found.generation <= found.high <= 26
    assert found.recovered is None and found.needed == 0
    down = onset(walks(rng, 200, drift=-0.3, start=20), walks(rng, 200))
    assert down.direction == "down"
    # Single chains: noise of deviation 1, a shift of 9 at the end; the band is some four deviations wide.
    assert found.share > 0.95 and found.share_low <= found.share <= found.share_high and found.band.shape == (2, 50)


def test_single_chains_of_a_null_run_leave_their_band_rarely():
    rng, shares = np.random.default_rng(5), []
    for _ in range(60):
        shares.append(onset(walks(rng, 100), walks(rng, 99), seed=0).share)
    assert np.mean(shares) < 0.01 + 4 * np.std(shares) / np.sqrt(len(shares))


def test_order_and_monotone_maps_change_nothing_and_failed_chains_count_as_largest():
    rng = np.random.default_rng(6)
    chains, controls = walks(rng, 40, drift=0.1), walks(rng, 30)
    one, two = onset(chains, controls), onset(np.exp(chains[::-1] / 3), np.exp(controls / 3))
    assert one.generation == two.generation and np.allclose(one.z, two.z)
    failed = walks(rng, 40)
    failed[:, 25:] = np.nan
    assert onset(failed, controls).generation == 25


def test_a_loss_that_rises_recovers_and_rises_again():
    rng = np.random.default_rng(7)
    shape = np.zeros(60)
    shape[10:20], shape[40:] = 3, 3
    found = onset(walks(rng, 50, 60) + shape, walks(rng, 50, 60))
    assert (found.generation, found.recovered, found.again) == (10, 20, 40)
    assert returns(np.array([0, 4, 0, 4, 0, 1, 0]), 3.0, 1, 3) == (4, None)
    assert returns(np.array([0, 4, 2.9, 2.9, 2.9, 2.9]), 3.0, 1, 2) == (None, None)  # hovers at the limit: has not come back


def test_too_few_chains_are_an_answer():
    rng = np.random.default_rng(8)
    chosen = [(4, 3), (4, 4), (1, 98), (5, 3)]  # 35, 35 (halves), 99 and 56 ways to choose: none is as rare as 1 %
    for c, k in chosen:
        few = onset(walks(rng, c, drift=9.0), walks(rng, k))
        assert few.verdict == "undecided" and few.needed == fewest(c) > k and few.share is None
    assert [fewest(c) for c in (1, 2, 4, 5)] == [99, 13, 5, 4]
    unsure = onset(walks(rng, 20), walks(rng, 20))
    assert unsure.verdict == "undecided" and unsure.needed > 20
    assert onset(walks(rng, 2000, 10), walks(rng, 2000, 10)).verdict == "no"
    with pytest.raises(ValueError, match="expected 50"):
        onset(walks(rng, 5), walks(rng, 5, 49))
    with pytest.raises(ValueError, match="level"):
        onset(walks(rng, 5), walks(rng, 5), level=1.0)


@pytest.mark.parametrize(
    ("c", "k", "generations"), [(4, 5, 50), (4, 8, 10), (4, 10, 50), (3, 12, 50), (2, 25, 50), (5, 5, 200), (1, 150, 50)]
)
def test_the_fewest_chains_that_can_tell_a_plain_shift_tell_it_when_it_begins(c, k, generations):
    """50 standard deviations from half way on: ranks alone would tie with what chance does at some generation.

    Of 30 runs one may leave the band before, by chance: 1 % of them do.
    """
    rng, begins, right = np.random.default_rng(9), generations // 2, 0
    for i in range(10):
        shifted = walks(rng, c, generations) + 50 * (np.arange(generations) >= begins)
        for chains in (shifted, np.where(shifted > 20, np.inf, shifted), -shifted):
            found = onset(chains, walks(rng, k, generations), seed=i)
            where = "down" if chains[0, -1] < 0 else "up"
            right += (found.verdict, found.generation, found.recovered, found.direction) == ("yes", begins, None, where)
    assert right >= 29


@pytest.mark.parametrize("n", [8, 20, 60])
def test_the_interval_of_a_slow_onset_holds_its_median_over_runs(n):
    """Of 150 runs; 95 % by name, of a bootstrap of few chains with noise that depends on its past at least 85 %."""
    rng, found = np.random.default_rng(n), []
    noise = lambda: np.cumsum(0.3 * rng.normal(size=(n, 60)), axis=1) + rng.normal(size=(n, 60))
    for i in range(150):
        found.append(onset(noise() + 0.15 * np.maximum(np.arange(60) - 10, 0), noise(), seed=i))
    seen = [f for f in found if f.verdict == "yes"]
    median = np.median([f.generation for f in seen])
    assert len(seen) > 100 and np.mean([f.low <= median <= f.high for f in seen]) >= 0.85
    assert all(f.low <= f.generation <= f.high for f in seen)


@pytest.mark.parametrize("n", [60, 400])
def test_the_interval_of_a_sudden_onset_does_not_begin_before_it(n):
    """Noise of drawing anew, on top of the noise that is there, crossed the band somewhere in 80 still generations."""
    rng = np.random.default_rng(n)
    for i in range(10):
        found = onset(walks(rng, n, 100) + 5.0 * (np.arange(100) >= 80), walks(rng, n, 100), seed=i)
        assert found.generation == found.high == 80 and found.low >= 79


def test_a_metric_that_never_varies_has_no_onset():
    still = np.ones((300, 20))
    found = onset(still, still)
    assert found.verdict == "no" and (found.z == 0).all() and found.share == 0
