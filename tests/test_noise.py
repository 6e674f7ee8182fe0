"""The table of noise: it has every metric, and what it says is found again with other pairs."""

import numpy as np
import pytest

from collapse_jax.metrics.noise import NOISE, PAIRS, values
from collapse_jax.metrics.registry import KINDS, of_kind

AGAIN = 32
# The others' noise is tested beside them: test_distances, test_fidelity, test_diversity, test_ngrams, test_mauve.
LOOKED_AT = [
    ("points", "low_density_10"),
    ("points", "memory_ratio"),
    ("points", "copied_share"),
    ("points", "quantile_coverage_5"),
    ("points", "mode_tv"),
    ("states", "chao1"),
    ("states", "missing_mass"),
    ("states", "zipf_mle"),
    ("states", "zipf_slope"),
    ("tokens", "perplexity_q05"),
    ("tokens", "perplexity_q50"),
    ("tokens", "above_range"),
    ("tokens", "novel_4"),
    ("tokens", "seq_rep_4"),
    ("tokens", "token_support"),
    ("tokens", "zipf_slope"),
    ("tokens", "tail_mass_5"),
    ("tokens", "tail_coverage_10"),
]


def test_it_has_every_metric():
    assert {kind: set(NOISE[kind]) for kind in NOISE} == {
        kind: {name for name, m in of_kind(kind).items() if not m.listed} for kind in KINDS
    }


@pytest.mark.parametrize("kind, name", LOOKED_AT)
def test_mean_and_deviation_are_found_again(kind, name):
    """32 pairs against 400: means within 4 standard errors of both and half a last digit, deviations within 4 of their own (1/√64)."""
    found, (mean, spread) = values(of_kind(kind)[name], AGAIN, seed=1), NOISE[kind][name]
    error = spread * np.sqrt(1 / AGAIN + 1 / PAIRS)
    assert abs(found.mean() - mean) <= 4 * error + 0.005 * abs(mean)
    assert abs(np.log(found.std() / spread)) < np.log(1.7)
