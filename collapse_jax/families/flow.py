"""Flow matching (rectified flow): a network learns the straight way from noise to data, an ODE solver goes it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import choice
from collapse_jax.data import Slots
from collapse_jax.families import denoising
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.training import Trained
from collapse_jax.metrics.points import least_samples
from collapse_jax.struct import static, struct

Array = jax.Array
MOST = 8  # dimensions in which the density is computed: its cost grows with their square


@struct
class Flow(Trained, Family):
    """dx/dt = v(x, t) from noise at t = 0 to data at t = 1, with v fitted to x₁ - x₀ (Liu et al. 2023; Lipman et al. 2023).

    architecture: "mlp" for points, "dit" for images (None: by the source); width, layers, heads, patch: of the network;
    solver: "heun" or "euler", sampling_steps of it; shape, classes: of a sample (None: the source's); limits: samples are
    clipped to these (None: [0, 1] for images, none for points); unlabelled: share of labels hidden in training, for
    guidance; dtype: of activations. How it is fitted: `Trained`. Data is standardised by the training set's mean and deviation.
    """

    architecture: str | None = static(default=None)
    width: int = static(default=128)
    layers: int = static(default=3)
    heads: int = static(default=4)
    patch: int = static(default=2)
    solver: str = static(default="heun")
    sampling_steps: int = static(default=25)
    shape: tuple[int, ...] | None = static(default=None)
    classes: int = static(default=0)
    limits: tuple[float, float] | None = static(default=None)
    dtype: str = static(default="float32")
    unlabelled: Any = 0.1

    labels = True
    sampled = least_samples("energy_distance", "class_entropy")

    @property
    def has_density(self) -> bool:  # only in few dimensions
        return int(np.prod(self.shape or ())) <= MOST

    def settled(self, experiment: Any) -> "Flow":
        return denoising.settled(self, experiment)

    def validate(self, experiment: Any) -> None:
        choice("family.solver", self.solver, ("heun", "euler"))
        denoising.check(self, experiment)

    def init(self, key: Array, shared: Shared) -> Any:
        """Random parameters: the network's, the shift and scale of data, the shares of the classes."""
        return denoising.begun(self, key)

    def fit(self, key: Array, params: Any, train: Slots, shared: Shared) -> tuple[Any, dict[str, Array]]:
        """See `training.Trained`; train_loss is E ‖v(xₜ, t) - (x₁ - x₀)‖² a dimension, in units of the data's variance."""
        params, train = denoising.prepared(self, params, train)

        def loss(net: Any, samples: Array, noise: Array) -> Array:
            one, label = denoising.split(self, samples)
            keys = jax.random.split(noise, 3)
            zero, t = jax.random.normal(keys[0], one.shape), jax.random.uniform(keys[1], (len(one), 1))
            label = denoising.forgotten(self, keys[2], label)
            out = denoising.direction(self, net, (1 - t) * zero + t * one, t[:, 0], label)
            return jnp.mean((out - (one - zero)) ** 2)

        return denoising.trained(self, key, params, train, shared, loss)

    def sample(self, key: Array, params: Any, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, size], with the class in a last column where the source has labels."""
        h = 1 / self.sampling_steps

        def walk(noise: Array, label: Array) -> Array:
            speed = lambda x, t: denoising.guided(self, params["net"], x, t, label, decoding)

            def step(i: Any, x: Array) -> Array:
                first = speed(x, i * h)
                if self.solver == "euler":
                    return x + h * first
                return x + 0.5 * h * (first + speed(x + h * first, (i + 1) * h))

            return jax.lax.fori_loop(0, self.sampling_steps, step, noise)

        return denoising.sampled(self, key, params, n, walk)

    def measure(self, key: Array, params: Any, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """See `denoising.measured`."""
        assert samples is not None
        return denoising.measured(self, samples, shared)

    def log_prob(self, params: Any, samples: Array, shared: Shared) -> Array:
        """Log-density of samples [n, size <= 8]: [n], nats; the flow gone backwards, its divergence summed (Chen et al. 2018)."""
        points, label = denoising.split(self, samples)
        x = (points - params["shift"]) / params["scale"]
        h = 1 / (2 * self.sampling_steps)

        def change(x: Array, t: Array) -> tuple[Array, Array]:
            alone = lambda x, label: denoising.direction(self, params["net"], x[None], t, label[None])[0]
            slope = jax.vmap(jax.jacfwd(alone))(x, label)
            return jax.vmap(alone)(x, label), jnp.trace(slope, axis1=1, axis2=2)

        def step(i: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
            x, total = state
            t = 1 - i * h
            speed, divergence = change(x, t)
            speed_2, divergence_2 = change(x - h * speed, t - h)
            return x - 0.5 * h * (speed + speed_2), total + 0.5 * h * (divergence + divergence_2)

        x, total = jax.lax.fori_loop(0, 2 * self.sampling_steps, step, (x, jnp.zeros(len(x))))
        d = x.shape[1]
        density = -0.5 * jnp.sum(x**2, axis=1) - 0.5 * d * np.log(2 * np.pi) - total - d * jnp.log(params["scale"])
        return density + jnp.log(params["classes"])[label] if self.classes else density
