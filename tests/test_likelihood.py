"""The likelihood band: what it keeps of the generation-0 model's own samples, and of a model that has drifted."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.curation import Context, Likelihood
from collapse_jax.data import Frame, Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families import Gaussian
from collapse_jax.families.base import Family
from collapse_jax.struct import replace, struct

N = 4000


@struct
class Bell(Family):
    """A normal distribution whose parameters are (mean, standard deviation); samples in units of `scale`."""

    scale: Any = 1.0

    def sample(self, key, params, n, decoding, prompts=None):
        mean, deviation = params
        return (mean + deviation * jax.random.normal(key, (n, 1))) / self.scale

    def frame(self, params):
        return Frame(jnp.zeros(1), jnp.log(jnp.float32(self.scale)))

    def log_prob(self, params, samples, shared):
        mean, deviation = params
        return jax.scipy.stats.norm.logpdf(samples[:, 0], mean, deviation)


def kept(rule, mean, deviation, scale=1.0):
    """Which of N samples of a normal model are kept, generation 0 being the standard normal; and the samples."""
    family = Bell(scale)
    context = Context((0.0, 1.0), (mean, deviation), family, {}, jnp.int32(1))
    reference = rule.reference(jax.random.key(1), context, N)
    slots = Slots.of(family.sample(jax.random.key(2), context.current, N, None), 2, family.frame(None))
    same, weight = rule.apply(jax.random.key(3), slots, replace(context, reference=reference))
    assert same is slots
    return np.asarray(weight) > 0, np.asarray(slots.absolute())[:, 0]


@pytest.mark.parametrize("low, high", [(0.05, 0.95), (0.0, 0.5), (0.5, 1.0), (0.3, 0.4)])
def test_of_the_first_models_own_samples_the_band_keeps_its_share(low, high):
    keep, _ = kept(Likelihood(low, high), 0.0, 1.0)
    share = high - low
    # Both the reference and the candidates are N samples; the ends 0 and 1 lose a sample or two more.
    assert abs(keep.mean() - share) < 4 * np.sqrt(2 * share * (1 - share) / N) + 2 / N


def test_the_low_end_drops_what_is_unlikely_and_the_high_end_what_is_too_likely():
    keep, x = kept(Likelihood(0.05, 1.0), 0.0, 3.0)
    # Log-probability falls with |x|: its 5 % quantile is at |x| = 1.96, where |x| has density 0.117.
    error = 4 * np.sqrt(0.05 * 0.95 / N) / 0.117
    assert np.abs(x[keep]).max() < 1.96 + error and np.abs(x[~keep]).min() > 1.96 - error
    keep, x = kept(Likelihood(0.0, 0.5), 0.0, 1.0)
    assert abs(np.abs(x[keep]).min() - 0.674) < 4 * np.sqrt(0.25 / N) / 0.636


def test_a_sharper_model_is_cut_back_and_units_do_not_matter():
    keep, _ = kept(Likelihood(0.05, 0.95), 0.0, 0.3)
    # |x| must lie between 0.0627 and 1.96: of N(0, 0.3²) a share of 0.8345 does. The edge's error (density 0.796 of the
    # reference there, 2.60 of the candidates) adds to the binomial one.
    edge = np.sqrt(0.05 * 0.95 / N) / 0.796 * 2.60
    assert abs(keep.mean() - 0.8345) < 4 * np.hypot(np.sqrt(0.8345 * 0.1655 / N), edge)
    scaled, _ = kept(Likelihood(0.05, 0.95), 0.0, 0.3, scale=8.0)
    assert (scaled == keep).mean() > 0.999  # float32 rounding at the band's edge


def test_the_reference_is_the_first_models_and_in_order():
    context = Context((5.0, 1.0), (0.0, 1.0), Bell(), {}, jnp.int32(0))
    reference = Likelihood().reference(jax.random.key(0), context, 1000)
    assert reference.shape == (1000,) and (jnp.diff(reference) >= 0).all()
    # Mean log density of a normal under itself: -(1 + ln 2π) / 2, standard deviation 1 / √2.
    assert abs(reference.mean() + (1 + np.log(2 * np.pi)) / 2) < 4 * np.sqrt(0.5 / 1000)


class Told(Bell):
    """The same, whose decoding is a factor that samples are multiplied by."""

    def sample(self, key, params, n, decoding, prompts=None):
        return decoding * super().sample(key, params, n, None)


def test_the_reference_is_drawn_as_the_candidates_are():
    """A decoding that halves all samples: the band is that of halves, x/2 of N(0, 1), not of the model's own law."""
    context = Context((0.0, 1.0), None, Told(), {}, jnp.int32(0), decoding=0.5)
    reference = Likelihood().reference(jax.random.key(0), context, 2000)
    halves = 0.5 * Bell().sample(jax.random.key(0), (0.0, 1.0), 2000, None)[:, 0]
    np.testing.assert_allclose(reference, np.sort(jax.scipy.stats.norm.logpdf(halves)), rtol=1e-5)


def test_dropped_candidates_stay_dropped():
    context = Context((0.0, 1.0), (0.0, 1.0), Bell(), {}, jnp.int32(1))
    rule = Likelihood(0.0, 1.0)
    slots = Slots(jnp.zeros((3, 1)), jnp.asarray([0.0, 1.0, 0.5]), jnp.ones(3, jnp.int32))
    reference = jnp.asarray([-5.0, 0.0])
    assert rule.apply(jax.random.key(0), slots, replace(context, reference=reference))[1].tolist() == [0.0, 1.0, 0.5]


@pytest.mark.parametrize("low, high", [(0.5, 0.5), (0.9, 0.1), (-0.1, 0.5), (0.1, 1.5), ("a", 0.5), (None, 1), (0.0, True)])
def test_quantiles_that_are_no_band_are_refused(low, high):
    with pytest.raises(ConfigError, match=r"curation\.likelihood\.(low|high) = "):
        Likelihood(low, high).validate(SimpleNamespace(family=Gaussian(1)))


def test_a_band_is_allowed_up_to_its_ends():
    Likelihood(0, 1).validate(SimpleNamespace(family=Gaussian(1)))
    Likelihood().validate(SimpleNamespace(family=Gaussian(1)))
