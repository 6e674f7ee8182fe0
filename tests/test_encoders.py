"""Fréchet distances on features that an experiment asks for by name: principal axes of real samples, or any encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA

import collapse_jax as cj
from collapse_jax.engine.work import Settings, Work
from collapse_jax.metrics import chosen, registry
from collapse_jax.metrics.fidelity import COMPONENTS, frechet_by
from collapse_jax.metrics.points import held_out
from collapse_jax.metrics.registry import of_kind

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def unchanged(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "REGISTERED", dict(registry.REGISTERED))
    monkeypatch.setattr("collapse_jax.metrics.fidelity.REGISTERED", registry.REGISTERED)


def expected(a, b):
    """By SciPy's matrix root, in float64."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    s, r = np.cov(a.T), np.cov(b.T)
    return ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(s + r - 2 * sqrtm(s @ r).real)


def advanced(source, metrics, dim):
    """One generation of a kernel density: its record, its samples without labels, and the real ones it was compared with."""
    e = cj.Experiment(source, cj.families.KernelDensity(dim, 0.7), cj.regimes.Replace(), 300, 1, metrics=metrics)
    e = cj.resolve(e)
    shared = Work([e], Settings(chains=1), jax.local_devices()).shared(e)
    chain, record = cj.advance(e, shared, cj.initial_chain(e, shared, KEY), 0)
    real = held_out({**shared, "source": e.source})
    return record, np.asarray(getattr(chain.store, "current", chain.store).absolute()), np.asarray(real), shared


def test_frechet_pca_of_a_run_is_that_of_scikit_learns_axes_of_real_samples():
    source = cj.sources.Blobs(np.random.default_rng(0).normal(0, 4, (30, 24)).tolist())
    record, x, y, shared = advanced(source, ["frechet_pca", "frechet"], 24)
    real = np.asarray(source.draw(jax.random.key(0), 2048, shared), float)
    pca = PCA(COMPONENTS).fit(real)
    np.testing.assert_allclose(record["frechet_pca"], expected(pca.transform(x), pca.transform(y)), rtol=1e-3)
    assert record["frechet_pca"] < record["frechet"]


def test_few_dimensions_and_few_samples_have_as_many_axes_as_there_are_and_labels_none():
    blobs = cj.sources.Blobs([[0.0, 0.0, 0.0], [5.0, 0.0, 1.0]], labels=True)
    e = cj.Experiment(blobs, cj.families.Flow(classes=2), cj.regimes.Replace(), 256, 1, metrics=["frechet_pca"])
    assert chosen.tables(cj.resolve(e), {})["axes"].axes.shape == (3, 3)
    # Turned, but no axis lost: the distance is frechet's own.
    record, x, y, _ = advanced(cj.sources.Normal(2), ["frechet_pca", "frechet"], 2)
    np.testing.assert_allclose(record["frechet_pca"], record["frechet"], rtol=1e-3)
    np.testing.assert_allclose(record["frechet"], expected(x, y), rtol=1e-3)


@pytest.mark.parametrize("weight", [0, 1])
def test_nothing_generated_is_infinitely_far_and_one_sample_is_not(weight):
    _, x, y, shared = advanced(cj.sources.Normal(2), ["frechet_pca"], 2)
    found = of_kind("points")["frechet_pca"](x, jnp.zeros(len(x)).at[0].set(weight), y, KEY, shared)
    assert (
        np.isinf(found) if weight == 0 else np.isclose(found, ((x[0] - y.mean(axis=0)) ** 2).sum() + np.var(y, 0, ddof=1).sum())
    )


def test_any_encoder_is_asked_for_by_the_name_it_is_given():
    weights = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    frechet_by("frechet_tanh", lambda x: x)
    cj.metrics.fidelity.frechet_by("frechet_tanh", lambda x: jnp.tanh(x @ weights), least=200)  # the second call counts
    record, x, y, _ = advanced(cj.sources.Normal(2), ["frechet_tanh@2"], 2)
    np.testing.assert_allclose(record["frechet_tanh"], expected(np.tanh(x @ weights), np.tanh(y @ weights)), rtol=1e-2)
    of_nothing = of_kind("points")["frechet_tanh"](jnp.full((4, 2), jnp.nan), jnp.zeros(4), y, KEY)
    assert np.isinf(of_nothing)
    few = cj.Experiment(cj.sources.Normal(2), cj.families.KernelDensity(2), cj.regimes.Replace(), 64, 1, metrics=["frechet_tanh"])
    with pytest.raises(cj.ConfigError, match="used with at least 200 samples"):
        cj.plan(few, chains=1)
    with pytest.raises(ValueError, match="frechet"):
        frechet_by("frechet", lambda x: x)
