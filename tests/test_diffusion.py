"""Diffusion models: their noise schedules, and DDIM's way where the network's right answer is known (test_flow has the fits)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.families import Diffusion, denoising

KEY = jax.random.key(0)


def test_noise_schedules_are_the_published_ones():
    cosine = Diffusion(noise_levels=1000).kept()
    t = np.arange(1001) / 1000
    published = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(cosine[:990], published[:990], rtol=1e-9)
    assert cosine[0] == 1 and 0 < cosine[-1] < 1e-6 and (np.diff(cosine) < 0).all()
    linear = Diffusion(noising="linear").kept()
    np.testing.assert_allclose(linear[1:], np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), rtol=1e-9)


@pytest.mark.parametrize("target", ["velocity", "noise"])
@pytest.mark.parametrize("noising", ["cosine", "linear"])
def test_with_the_right_network_ddim_draws_the_data(target, noising, monkeypatch):
    """Normal data of deviation s: E[x₀ | xₜ] is linear in xₜ, so both targets are known, and DDIM goes to N(0, s²)."""
    family, s, n = Diffusion(shape=(1,), architecture="mlp", target=target, noising=noising, sampling_steps=250), 0.5, 4000
    kept = jnp.asarray(family.kept(), jnp.float32)

    def right(family, net, x, t, label, decoding):
        alpha = kept[jnp.round(t * family.noise_levels).astype(jnp.int32)]
        total = alpha * s**2 + 1 - alpha
        eps, clean = jnp.sqrt(1 - alpha) * x / total, jnp.sqrt(alpha) * s**2 * x / total
        return eps if target == "noise" else jnp.sqrt(alpha) * eps - jnp.sqrt(1 - alpha) * clean

    monkeypatch.setattr(denoising, "guided", right)
    params = {"net": None, "shift": jnp.zeros(1), "scale": jnp.ones(())}
    drawn = np.asarray(family.sample(KEY, params, n))
    # 250 of 1,000 steps leave about 1 %; the standard error of a variance is √(2/n) of it.
    assert abs(drawn.var() / s**2 - 1) < 0.02 + 4 * np.sqrt(2 / n)
    assert abs(drawn.mean()) < 4 * s / np.sqrt(n)
