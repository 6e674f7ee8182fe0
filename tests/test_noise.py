"""The table of noise: it has every metric, and what it says is found again with other pairs."""

import numpy as np
import pytest

from collapse_jax.metrics.noise import NOISE, PAIRS, values
from collapse_jax.metrics.registry import KINDS, of_kind

METRICS = {name: m for kind in KINDS for name, m in of_kind(kind).items()}
AGAIN = 32
# The others' noise is tested beside them: test_distances, test_fidelity, test_diversity, test_ngrams, test_mauve.
LOOKED_AT = (
    "low_density_10",
    "memory_ratio",
    "copied_share",
    "quantile_coverage_5",
    "mode_tv",
    "chao1",
    "missing_mass",
    "zipf_mle",
    "zipf_slope",
    "perplexity_q05",
    "perplexity_q50",
    "above_range",
    "novel_4",
)


def test_it_has_every_metric():
    assert set(NOISE) == set(METRICS)


@pytest.mark.parametrize("name", LOOKED_AT)
def test_mean_and_deviation_are_found_again(name):
    """32 pairs against 400: means within 4 standard errors of both and half a last digit, deviations within 4 of their own (1/√64)."""
    found, (mean, spread) = values(METRICS[name], AGAIN, seed=1), NOISE[name]
    error = spread * np.sqrt(1 / AGAIN + 1 / PAIRS)
    assert abs(found.mean() - mean) <= 4 * error + 0.005 * abs(mean)
    assert abs(np.log(found.std() / spread)) < np.log(1.7)
