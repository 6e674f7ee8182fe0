"""Diffusion models: a network learns to take noise away (DDPM, Ho et al. 2020), DDIM steps sample (Song et al. 2021)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import choice, whole
from collapse_jax.data import Slots
from collapse_jax.families import denoising
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.training import Trained
from collapse_jax.metrics.points import least_samples
from collapse_jax.struct import static, struct

Array = jax.Array
FAR = 5.0  # deviations from the mean beyond which no clean sample is looked for, with target="noise"


@struct
class Diffusion(Trained, Family):
    """xₜ = √ᾱₜ x₀ + √(1 - ᾱₜ) ε for t = 1 … noise_levels; the network is fitted to ε or to √ᾱ ε - √(1 - ᾱ) x₀.

    schedule of ᾱ, noising: "cosine" (Nichol & Dhariwal 2021) or "linear" (β from 1e-4 to 0.02, at 1,000 levels); target:
    "velocity" (Salimans & Ho 2022: sound at ᾱ near 0) or "noise"; sampling_steps: of DDIM, without new noise; the other
    fields are those of `Flow`. SamplingBias(λ) is classifier-free guidance of strength w = 1/λ - 1.
    """

    architecture: str | None = static(default=None)
    width: int = static(default=128)
    layers: int = static(default=3)
    heads: int = static(default=4)
    patch: int = static(default=2)
    noising: str = static(default="cosine")
    target: str = static(default="velocity")
    noise_levels: int = static(default=1000)
    sampling_steps: int = static(default=50)
    shape: tuple[int, ...] | None = static(default=None)
    classes: int = static(default=0)
    limits: tuple[float, float] | None = static(default=None)
    dtype: str = static(default="float32")
    unlabelled: Any = 0.1

    labels = True
    sampled = least_samples("energy_distance", "class_entropy")

    def settled(self, experiment: Any) -> "Diffusion":
        return denoising.settled(self, experiment)

    def validate(self, experiment: Any) -> None:
        choice("family.noising", self.noising, ("cosine", "linear"))
        choice("family.target", self.target, ("velocity", "noise"))
        whole("family.noise_levels", self.noise_levels, 2, 100_000)
        whole("family.sampling_steps", self.sampling_steps, 1, self.noise_levels)
        denoising.check(self, experiment)

    def init(self, key: Array, shared: Shared) -> Any:
        """Random parameters: the network's, the shift and scale of data, the shares of the classes."""
        return denoising.begun(self, key)

    def kept(self) -> np.ndarray:
        """ᾱ at noise levels 0 … noise_levels: what is left of the data's variance."""
        n = self.noise_levels
        if self.noising == "linear":
            beta = np.linspace(0.1, 20.0, n) / n
            return np.concatenate([[1.0], np.cumprod(1 - np.minimum(beta, 0.999))])
        angle = np.cos((np.arange(n + 1) / n + 0.008) / 1.008 * np.pi / 2) ** 2
        beta = np.minimum(1 - angle[1:] / angle[:-1], 0.999)
        return np.concatenate([[1.0], np.cumprod(1 - beta)])

    def fit(self, key: Array, params: Any, train: Slots, shared: Shared) -> tuple[Any, dict[str, Array]]:
        """See `training.Trained`; train_loss is the mean squared error of the target a dimension."""
        params, train = denoising.prepared(self, params, train)
        kept = jnp.asarray(self.kept(), jnp.float32)

        def loss(net: Any, samples: Array, noise: Array) -> Array:
            clean, label = denoising.split(self, samples)
            keys = jax.random.split(noise, 3)
            level = jax.random.randint(keys[0], (len(clean), 1), 1, self.noise_levels + 1)
            eps, alpha = jax.random.normal(keys[1], clean.shape), kept[level]
            noisy = jnp.sqrt(alpha) * clean + jnp.sqrt(1 - alpha) * eps
            label = denoising.forgotten(self, keys[2], label)
            out = denoising.direction(self, net, noisy, level[:, 0] / self.noise_levels, label)
            velocity = jnp.sqrt(alpha) * eps - jnp.sqrt(1 - alpha) * clean
            return jnp.mean((out - (velocity if self.target == "velocity" else eps)) ** 2)

        return denoising.trained(self, key, params, train, shared, loss)

    def sample(self, key: Array, params: Any, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, size], with the class in a last column where the source has labels."""
        levels = jnp.asarray(np.rint(np.linspace(self.noise_levels, 0, self.sampling_steps + 1)), jnp.int32)
        kept = jnp.asarray(self.kept(), jnp.float32)

        def walk(noise: Array, label: Array) -> Array:
            def step(i: Any, x: Array) -> Array:
                alpha, after = kept[levels[i]], kept[levels[i + 1]]
                out = denoising.guided(self, params["net"], x, levels[i] / self.noise_levels, label, decoding)
                if self.target == "velocity":
                    clean, eps = jnp.sqrt(alpha) * x - jnp.sqrt(1 - alpha) * out, jnp.sqrt(1 - alpha) * x + jnp.sqrt(alpha) * out
                else:
                    # Where little is left of the data, an error in the noise would throw the estimate far out of it.
                    clean = jnp.clip((x - jnp.sqrt(1 - alpha) * out) * jax.lax.rsqrt(alpha), -FAR, FAR)
                    eps = (x - jnp.sqrt(alpha) * clean) * jax.lax.rsqrt(1 - alpha)
                return jnp.sqrt(after) * clean + jnp.sqrt(1 - after) * eps

            return jax.lax.fori_loop(0, self.sampling_steps, step, noise)

        return denoising.sampled(self, key, params, n, walk)

    def measure(self, key: Array, params: Any, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """See `denoising.measured`."""
        assert samples is not None
        return denoising.measured(self, samples, shared)
