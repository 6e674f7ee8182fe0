"""The VAE family: its bound, its samples, endless chains, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.families import VAE, Steps
from collapse_jax.metrics.points import held_out
from collapse_jax.struct import replace

KEY = jax.random.key(0)
SMALL = VAE("mlp", 2, "gaussian", hidden=(32,), batch=64, budget=Steps(300), learning_rate=5e-3, warmup=0.0, weight_decay=0.0)
SMALL_2 = replace(SMALL, shape=(2,), emit="drawn")


@pytest.fixture(scope="module")
def trained():
    """A chain of two generations on the standard normal: resolved experiment, both states and both records."""
    e = cj.resolve(cj.Experiment(cj.sources.Normal(2), SMALL, cj.regimes.Replace(), 1024, 1))
    step, states = jax.jit(lambda state, t: cj.advance(e, {}, state, t)), [cj.initial_chain(e, {}, KEY)]
    records = []
    for t in range(2):
        state, record = step(states[-1], t)
        states.append(state)
        records.append({name: np.asarray(value) for name, value in record.items()})
    return e, states[1:], records


def test_a_gaussian_source_is_recovered_and_the_error_falls_with_the_samples(trained):
    """The bound comes near the source's entropy, 2.838 nats in two dimensions; from 8 samples it cannot."""
    e, states, records = trained
    excess = lambda elbo: -float(elbo) - np.log(2 * np.pi * np.e)
    assert excess(records[0]["elbo"]) < 0.1
    bounds = np.asarray(e.family.bounds(states[0].params, held_out({"source": e.source}), KEY), np.float64)
    assert float(records[0]["elbo_se"]) == pytest.approx(bounds.std(ddof=1) / np.sqrt(len(bounds)), rel=0.1)  # other latent draws
    assert abs(float(records[0]["elbo"]) - bounds.mean()) < 4 * float(records[0]["elbo_se"])
    assert abs(float(records[0]["trace_ratio"]) - 1) < 0.15 and float(records[0]["mean_sq_error"]) < 0.05
    assert records[0]["steps"] == 300 and not records[0]["failed"]
    family, test = e.family, jax.random.normal(jax.random.key(7), (2000, 2))

    @jax.jit
    def found(count):
        params, _ = family.fit(KEY, states[0].params, cj.data.Slots.of(test[:1000], 0, count=count), {"t": 0})
        return jnp.mean(family.bounds(params, test[1000:], KEY))

    errors = [excess(found(count)) for count in (8, 64, 1000)]
    assert errors[0] > errors[1] > errors[2] and errors[0] > 2 * errors[2] and errors[2] < 0.1


def test_the_density_bound_lies_above_the_plain_bound_and_integrates_to_almost_one(trained):
    e, states, _ = trained
    x = jax.random.normal(KEY, (512, 2))
    density = jax.jit(lambda x: e.family.log_prob(states[0].params, x, {}))
    gain = np.asarray(density(x) - e.family.bounds(states[0].params, x, jax.random.key(5)))
    assert gain.mean() > -2 * gain.std() / np.sqrt(512)
    side = jnp.linspace(-6, 6, 64)
    grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    total = float(jnp.sum(jnp.exp(density(grid))) * (side[1] - side[0]) ** 2)
    assert 0.85 < total < 1.02  # a lower bound of the density: at most 1, but for the error of 64 draws


def test_sampling_bias_narrows_the_latent():
    """A decoder that is linear with slope 1: the samples' variance is λ times the latent's, plus the noise's."""
    family = replace(SMALL, hidden=(), shape=(2,), emit="drawn")
    params = family.init(KEY, {})
    params = jax.tree.map(jnp.zeros_like, params) | {"out": {"kernel": jnp.eye(2), "bias": jnp.ones(2)}}
    params["zero_log_scale"] = jnp.log(0.5)
    n = 20_000
    for lam in (1.0, 0.4):
        x = np.asarray(family.sample(KEY, params, n, cj.decoding.SamplingBias(lam)))
        assert abs(x.var() / (lam + 0.25) - 1) < 4 * np.sqrt(2 / (2 * n))
        assert np.abs(x.mean(axis=0) - 1).max() < 4 * np.sqrt((lam + 0.25) / n)


def test_endless_training_sees_the_decoder_of_before_and_no_stored_sample():
    """From a decoder that draws only around 3, the next model learns 3, whatever the stored samples are."""
    family = replace(SMALL, hidden=(), shape=(2,), emit="drawn", endless=True, budget=Steps(600), learning_rate=2e-2)
    before = jax.tree.map(jnp.zeros_like, family.init(KEY, {})) | {"out": {"kernel": jnp.zeros((2, 2)), "bias": jnp.full(2, 3.0)}}
    before["zero_log_scale"] = jnp.log(0.1)
    train = cj.data.Slots.of(jnp.zeros((256, 2)), 0)
    fit = jax.jit(lambda t: family.fit(KEY, family.init(KEY, {}), train, {"t": t, "previous": before})[0])
    means = [float(jnp.mean(family.sample(KEY, fit(t), 1000))) for t in (0, 1)]
    assert abs(means[0]) < 0.2 and abs(means[1] - 3) < 0.2


def test_the_spread_of_codes_is_measured_by_the_first_encoder(trained):
    e, (first, second), records = trained
    same = [np.array_equal(a, b) for a, b in zip(jax.tree.leaves(second.first), jax.tree.leaves(first.params), strict=True)]
    assert all(same) and not np.array_equal(second.params["out"]["kernel"], second.first["out"]["kernel"])
    x = jax.random.normal(KEY, (512, 2))
    shared = {"source": e.source, "first": second.first}
    spread = jax.jit(lambda x: e.family.measure(KEY, second.params, cj.data.Slots.of(x, 1), shared)["latent_spread"])
    assert abs(float(records[0]["latent_spread"]) - 1) < 0.25 and abs(float(spread(x)) - 1) < 0.25
    assert float(spread(0.1 * x)) < 0.1


def test_half_precision_computes_in_half_precision_and_agrees():
    params = SMALL_2.init(KEY, {})
    x = jax.random.normal(KEY, (64, 2))
    full, half = (f.bounds(params, x, KEY) for f in (SMALL_2, replace(SMALL_2, dtype="bfloat16")))
    np.testing.assert_allclose(full, half, rtol=0.05, atol=0.05)  # bfloat16 has 8 bits
    assert full.dtype == half.dtype == jnp.float32 and not np.array_equal(full, half)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"architecture": "gan"}, "family.architecture"),
        ({"architecture": "conv"}, "family.shape"),
        ({"shape": (3,)}, "family.shape"),
        ({"latent": 0}, "family.latent"),
        ({"likelihood": "poisson"}, "family.likelihood"),
        ({"beta": -1.0}, "family.beta"),
        ({"hidden": (0,)}, "family.hidden"),
        ({"emit": "both"}, "family.emit"),
        ({"dtype": "float64"}, "family.dtype"),
        ({"batch": 0}, "family.batch"),
    ],
)
def test_what_cannot_be_fitted_is_refused_by_name(change, field):
    good = cj.Experiment(cj.sources.Normal(2), SMALL, cj.regimes.Replace(), 64, 1)
    cj.resolve(good)
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.varied(good, family=replace(SMALL, **change)))
    assert error.value.field == field
    with pytest.raises(cj.ConfigError, match="endless"):
        cj.resolve(cj.varied(good, family=replace(SMALL, endless=True), regime=cj.regimes.Accumulate()))
    with pytest.raises(cj.ConfigError, match="decoding"):
        cj.resolve(cj.varied(good, decoding=cj.decoding.Greedy()))
