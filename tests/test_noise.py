"""The table of noise: it has every metric, and what it says is found again with other pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.metrics.noise import NOISE, OWN, PAIRS, own_values, values
from collapse_jax.metrics.points import SAMPLED, against_source, energy_distance, moments
from collapse_jax.metrics.registry import KINDS, of_kind
from collapse_jax.metrics.tails import entropy

AGAIN = 32
# The others' noise is tested beside them: test_distances, test_fidelity, test_diversity, test_ngrams, test_mauve.
LOOKED_AT = [
    ("points", "low_density_10"),
    ("points", "memory_ratio"),
    ("points", "copied_share"),
    ("points", "quantile_coverage_5"),
    ("points", "mode_tv"),
    ("points", "mode_entropy"),
    ("points", "mode_quality"),
    ("points", "classifier_entropy"),
    ("states", "chao1"),
    ("states", "missing_mass"),
    ("states", "zipf_mle"),
    ("states", "zipf_slope"),
    ("tokens", "perplexity_q01"),
    ("tokens", "perplexity_q05"),
    ("tokens", "perplexity_q50"),
    ("tokens", "perplexity_q95"),
    ("tokens", "perplexity_q99"),
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
    found, (mean, spread) = values(of_kind(kind)[name], AGAIN, seed=1), NOISE[kind][name][:2]
    error = spread * np.sqrt(1 / AGAIN + 1 / PAIRS)
    assert abs(found.mean() - mean) <= 4 * error + 0.005 * abs(mean)
    assert abs(np.log(found.std() / spread)) < np.log(1.7)


@pytest.mark.parametrize("name", OWN)
def test_noise_of_families_own_columns_is_found_again(name):
    found, (mean, spread) = own_values(name, 100, seed=1), OWN[name]
    assert abs(found.mean() - mean) <= 4 * spread * np.sqrt(1 / 100 + 1 / PAIRS) + 0.005 * abs(mean)
    assert abs(np.log(found.std() / spread)) < np.log(1.5)


@pytest.mark.parametrize("name", SAMPLED)
def test_so_many_samples_tell_collapse_from_noise(name):
    """Half the variance, half the labels, or a mean half a deviation off, against 512 real samples."""
    n = SAMPLED[name]

    def one(key, changed):
        x, y = jax.random.normal(key, (n, 2)), jax.random.normal(jax.random.fold_in(key, 1), (512, 2))
        labels = jax.random.randint(key, (n,), 0, 2 if changed else 4)
        if changed:
            x = x + 0.5 if name == "mean_sq_error" else x / jnp.sqrt(2.0)
        total, share = moments(x, jnp.ones(n)), jnp.bincount(labels, length=4) / n
        made = against_source(*total, {"source": cj.sources.Normal(2)}) | {"energy_distance": energy_distance(x, y)}
        made["latent_spread"] = total[1] / moments(y, jnp.ones(512))[1]
        return (made | {"class_entropy": entropy(share)})[name]

    keys = jax.random.split(jax.random.key(0), 400)
    null, other = (np.asarray(jax.jit(jax.vmap(lambda key, c=c: one(key, c)))(keys)) for c in (False, True))
    assert abs(other.mean() - null.mean()) > 3 * null.std()


def test_too_few_samples_leave_such_columns_out_and_refuse_them_by_name(tmp_path):
    small = {"width": 8, "layers": 1, "batch": 16, "budget": cj.families.Steps(2), "sampling_steps": 2}
    e = cj.Experiment(cj.sources.TwoMoons(), cj.families.Flow(**small), cj.regimes.Replace(), 64, 1)
    columns = cj.run(e, chains=2, seed=0, out=tmp_path / "run").records.columns
    assert "trace_ratio" in columns and "energy_distance" not in columns
    with pytest.raises(cj.ConfigError, match="energy_distance: used with at least 256 samples: with 64"):
        cj.run(cj.varied(e, metrics=["energy_distance"]), chains=2, out=tmp_path / "other")
    few = cj.run(cj.varied(e, samples=32), chains=2, seed=0, out=tmp_path / "few")
    assert "trace_ratio" not in few.records.columns and "train_loss" in few.records.columns
