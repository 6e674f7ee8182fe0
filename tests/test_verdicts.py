"""Single definitions on curves that are known: few chains, logarithms, no zero, no growth to be seen."""

import numpy as np

from collapse_jax.profile import profiled


def chains_of(curve, n=40, noise=0.1, seed=0):
    return np.asarray(curve, float) + noise * np.random.default_rng(seed).normal(size=(n, 1)) + 0 * np.asarray(curve)


def test_few_chains_are_judged_with_care():
    """One chain has no interval and no verdict; of three noisy null chains hardly any is called collapsed."""
    rng = np.random.default_rng(0)
    null = lambda c: {"w2_sq": rng.exponential(size=(c, 50)), "trace_ratio": np.exp(0.1 * rng.normal(size=(c, 50)))}
    one = profiled(null(1))
    assert {v.verdict for v in one.verdicts} == {"undecided"} and all(v.needs for v in one.verdicts)
    for c in (2, 3, 5):
        said = [[v.verdict == "yes" for v in profiled(null(c)).verdicts] for _ in range(30)]
        assert np.mean(said, axis=0).max() <= 0.1


def test_risks_in_nats_grow_by_differences_and_those_without_a_zero_are_refused():
    by = profiled({"nll": chains_of(np.linspace(-0.5, 4.5, 20))}).verdicts
    assert by[0].verdict == "yes" and abs(by[0].statistic / np.exp(5) - 1) < 0.2
    by = profiled({"energy_distance": chains_of(np.linspace(-0.01, 0.2, 20), noise=0.001)}).verdicts
    assert by[0].verdict == "undecided" and "above 0" in by[0].needs and by[1].verdict == "yes"


def test_growth_that_cannot_be_seen_is_not_denied():
    noisy = np.random.default_rng(0).normal(0.1 * np.arange(50) + 5, 5, (3, 50))
    assert profiled({"w2_sq": noisy}).verdicts[2].verdict == "undecided"


def test_a_run_of_generation_0_alone_is_not_judged():
    assert {v.verdict for v in profiled({"w2_sq": np.ones((30, 1)), "trace_ratio": np.ones((30, 1))}).verdicts} == {"undecided"}
