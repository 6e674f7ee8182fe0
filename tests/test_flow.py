"""Flow matching: it recovers what it contains, its density is one, guidance and labels, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families import Diffusion, Flow, Steps
from collapse_jax.families.denoising import guided
from collapse_jax.metrics.points import energy_distance
from collapse_jax.sources.base import Source
from collapse_jax.struct import replace, struct

KEY = jax.random.key(0)
RECIPE = {"width": 48, "layers": 2, "batch": 128, "budget": Steps(600), "learning_rate": 5e-3, "weight_decay": 0.0}
KINDS = {"flow": Flow(**RECIPE, sampling_steps=12), "diffusion": Diffusion(**RECIPE, sampling_steps=40)}
SCALE, FAR = 0.5, 3.0


@struct
class Pair(Source):
    """Two round bells at x = ±3 (a fifth of the mass on the left), labelled 0 and 1."""

    classes, dim = 2, 2

    def draw(self, key, n, shared):
        keys = jax.random.split(key, 2)
        label = (jax.random.uniform(keys[0], (n,)) > 0.2).astype(jnp.float32)
        points = SCALE * jax.random.normal(keys[1], (n, 2)) + jnp.stack([FAR * (2 * label - 1), jnp.zeros(n)], 1)
        return jnp.concatenate([points, label[:, None]], axis=1)

    def mean(self, shared):
        return jnp.asarray([0.6 * FAR, 0.0])

    def trace(self, shared):
        return 2 * SCALE**2 + 0.64 * FAR**2


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    """A family, what it was fitted to, and its fit on 3,000 labelled samples."""
    family = of_pair(KINDS[request.param])
    real = Pair().draw(jax.random.key(1), 3000, {})
    fit = jax.jit(lambda count: family.fit(KEY, family.init(KEY, {}), Slots.of(real, 0, count=count), {"source": Pair()}))
    return family, fit


def of_pair(family):
    return cj.resolve(cj.Experiment(Pair(), family, cj.regimes.Replace(), 100, 0)).family


def test_both_modes_and_the_shares_of_the_classes_are_recovered(trained):
    family, fit = trained
    params, info = fit(3000)
    n = 4000
    samples = np.asarray(jax.jit(lambda key: family.sample(key, params, n))(KEY))
    points, label = samples[:, :2], samples[:, 2]
    share = float(np.asarray(params["classes"])[0])
    assert abs(share - 0.2) < 4 * np.sqrt(0.16 / 3000) and abs((label == 0).mean() - share) < 4 * np.sqrt(0.16 / n)
    for k, centre in ((0, -FAR), (1, FAR)):
        own = points[label == k]
        # 600 steps of a small network: the centre within a fifth of a deviation, the deviation within a fifth.
        assert np.abs(own.mean(axis=0) - [centre, 0]).max() < 0.2 * SCALE + 0.05, (k, own.mean(axis=0))
        assert ((own.std(axis=0) / SCALE > 0.75) & (own.std(axis=0) / SCALE < 1.3)).all(), (k, own.std(axis=0))
    record = jax.jit(lambda s: family.measure(KEY, params, Slots.of(s, 1), {"source": Pair()}))(jnp.asarray(samples))
    assert abs(float(record["trace_ratio"]) - 1) < 0.15 and float(record["energy_distance"]) < 0.05
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert abs(float(record["class_entropy"]) - entropy) < 0.05
    assert float(info["train_loss"]) > 0 and int(info["steps"]) == 600


def test_more_samples_bring_it_nearer(trained):
    """Energy distance to new real samples: of a fit to 12 samples against one to 3,000."""
    family, fit = trained
    real = Pair().draw(jax.random.key(2), 1500, {})[:, :2]
    sample = jax.jit(lambda params: family.sample(KEY, params, 1500)[:, :2])
    few, many = (float(energy_distance(sample(fit(count)[0]), real)) for count in (12, 3000))
    assert few > 3 * max(many, 0.005)


def test_guidance_is_the_published_combination_and_narrows_each_class(trained):
    family, fit = trained
    params, x, label = fit(3000)[0], jax.random.normal(KEY, (50, 2)), jnp.ones(50, jnp.int32)
    say = lambda label, decoding: guided(family, params["net"], x, jnp.float32(0.5), label, decoding)
    towards, nowhere = say(label, None), say(jnp.full(50, 2), None)
    np.testing.assert_allclose(say(label, cj.decoding.SamplingBias(1.0)), towards, atol=1e-5)
    # λ = 1/(1 + w): .4 is w = 1.5.
    np.testing.assert_allclose(say(label, cj.decoding.SamplingBias(0.4)), 2.5 * towards - 1.5 * nowhere, atol=1e-4)
    draw = jax.jit(lambda lam: family.sample(KEY, params, 3000, cj.decoding.SamplingBias(lam)))
    plain, biased = np.asarray(draw(1.0)), np.asarray(draw(0.3))
    away = lambda s: np.abs(s[s[:, 2] == 1][:, 0] - FAR)
    # Guidance pushes away from the other class: hardly any sample is left between the modes.
    between = lambda s: (s[s[:, 2] == 1][:, 0] < FAR - 1.5 * SCALE).mean()
    assert between(biased) < between(plain) and np.isfinite(away(biased)).all()


def test_the_density_of_a_flow_integrates_to_one_and_is_that_of_its_samples():
    family = replace(KINDS["flow"], shape=(2,), architecture="mlp")
    real = jax.random.normal(KEY, (2000, 2)) * jnp.asarray([1.0, 0.5]) + 1.0
    params, _ = jax.jit(lambda: family.fit(KEY, family.init(KEY, {}), Slots.of(real, 0), {}))()
    side = jnp.linspace(-4, 6, 60)
    grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    density = jax.jit(lambda x: family.log_prob(params, x, {}))
    p = np.exp(np.asarray(density(grid)))
    assert abs(p.sum() * float(side[1] - side[0]) ** 2 - 1) < 0.02  # Heun with 24 steps, a grid of 0.17
    samples = np.asarray(jax.jit(lambda: family.sample(KEY, params, 4000))())
    mean = (p[:, None] * np.asarray(grid)).sum(axis=0) / p.sum()
    assert np.abs(samples.mean(axis=0) - mean).max() < 4 / np.sqrt(4000) + 0.02
    entropy = np.log(2 * np.pi * np.e) + np.log(0.5)
    assert abs(-float(jnp.mean(density(real))) - entropy) < 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change, field",
    [
        ({"architecture": "unet"}, "family.architecture"),
        ({"shape": (3,)}, "family.shape"),
        ({"architecture": "dit"}, "family.patch"),
        ({"width": 0}, "family.width"),
        ({"sampling_steps": 0}, "family.sampling_steps"),
        ({"unlabelled": 2.0}, "family.unlabelled"),
        ({"dtype": "int8"}, "family.dtype"),
    ],
)
def test_what_cannot_be_fitted_is_refused_by_name(kind, change, field):
    good = cj.Experiment(cj.sources.Normal(2), KINDS[kind], cj.regimes.Replace(), 64, 1)
    cj.resolve(good)
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.varied(good, family=replace(good.family, **change)))
    assert error.value.field == field
    with pytest.raises(cj.ConfigError, match="labelled"):
        cj.resolve(cj.varied(good, decoding=cj.decoding.SamplingBias(0.5)))
    if kind == "diffusion":
        with pytest.raises(cj.ConfigError, match="density"):
            cj.resolve(cj.varied(good, curation=cj.curation.Likelihood()))
        with pytest.raises(cj.ConfigError, match="family.noising"):
            cj.resolve(cj.varied(good, family=replace(good.family, noising="quadratic")))
    else:
        with pytest.raises(cj.ConfigError, match="family.solver"):
            cj.resolve(cj.varied(good, family=replace(good.family, solver="rk9")))
