"""Every family that is fitted in closed form or by iteration, under every regime: see tests/matrix.py."""

import pytest
from matrix import runs_and_resumes

import collapse_jax as cj

f, s = cj.families, cj.sources
FAMILIES = {
    "gaussian": (s.Normal(2), f.Gaussian(2, statistics=False), "trace_ratio"),
    "discrete": (s.Zipf(12), f.Discrete(12), "entropy"),
    "mixture": (s.EightGaussians(), f.GaussianMixture(3, 2, iterations=20), "trace_ratio"),
    "kernel density": (s.TwoMoons(), f.KernelDensity(2, 0.3), "trace_ratio"),
    "regression": (s.LinearTask(3), f.LinearRegression(3), "excess_risk"),
    "logistic": (s.LogisticTask(3), f.LogisticRegression(3, ridge=0.01), "excess_risk"),
    "n-grams": (s.ZipfLanguage(6, 8), f.NGram(2, 6, f.AddK(0.1)), "perplexity"),
}


@pytest.mark.timeout(580, method="thread")  # a hang in compiled code hears no signal
@pytest.mark.parametrize("name", FAMILIES)
def test_three_generations_under_every_regime_resume_to_the_bit(name, tmp_path):
    runs_and_resumes(*FAMILIES[name], tmp_path)
