"""Variational autoencoders (Kingma & Welling 2014) of points and images, among them the network of Nature 2024's MNIST chain."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import regimes
from collapse_jax.checks import as_tuple, choice, number, whole
from collapse_jax.data import Slots
from collapse_jax.decoding import SamplingBias
from collapse_jax.errors import ConfigError
from collapse_jax.families.autoencoder import ARCHITECTURES
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.modules import bound, in_slices, initial, same_shape
from collapse_jax.families.training import Trained
from collapse_jax.metrics.points import HELD_OUT, against_source, held_out, least_samples, moments
from collapse_jax.metrics.text import standard_error
from collapse_jax.struct import replace, static, struct

Array = jax.Array
SLICE = 32  # images a convolution works on at a time on CPUs, so that its patches stay in the cache
DRAWS = 64  # latent draws of `log_prob`'s bound


@struct
class VAE(Trained, Family):
    """p(x) = ∫ p(x|z) N(z; 0, I) dz, fitted by the evidence lower bound with KL weighted by beta; samples [n, height·width·channels].

    architecture: "conv" (two convolutions; height and width divisible by 4) or "mlp" (hidden layers `hidden`); latent: its
    dimensions; likelihood: "bernoulli" for pixels in [0, 1] (images), or "gaussian" with one fitted deviation; shape: of a sample
    (None: the source's); emit: samples are the decoder's "mean" (None: for bernoulli) or "drawn" from p(x|z) (None: for
    gaussian); endless: in place of a finite set of samples, draw each step's batch anew from the decoder of the
    generation before (as Nature 2024 does: it leaves no statistical error); dtype: of activations. How it is fitted: `Trained`.
    """

    architecture: str = static(default="mlp")
    latent: int = static(default=2)
    likelihood: str = static(default="bernoulli")
    beta: Any = 1.0
    hidden: tuple[int, ...] = static(default=(256, 128))
    shape: tuple[int, ...] | None = static(default=None)
    emit: str | None = static(default=None)
    endless: bool = static(default=False)
    dtype: str = static(default="float32")

    remembers = True
    sampled = least_samples("latent_spread")

    def settled(self, experiment: Any) -> "VAE":
        shape = getattr(experiment.source, "shape", None) or (getattr(experiment.source, "dim", 0),)
        return replace(
            self,
            shape=tuple(shape) if self.shape is None else as_tuple(self.shape),
            hidden=as_tuple(self.hidden),
            emit=self.emit or ("mean" if self.likelihood == "bernoulli" else "drawn"),
        )

    def validate(self, experiment: Any) -> None:
        self.check_recipe()
        choice("family.architecture", self.architecture, tuple(ARCHITECTURES))
        choice("family.likelihood", self.likelihood, ("bernoulli", "gaussian"))
        choice("family.emit", self.emit, ("mean", "drawn"))
        choice("family.endless", self.endless, (False, True))
        choice("family.dtype", self.dtype, ("float32", "bfloat16"))
        whole("family.latent", self.latent)
        number("family.beta", self.beta, 0, 1e6)
        if not isinstance(self.hidden, tuple):
            raise ConfigError("family.hidden", repr(self.hidden), "a list of widths")
        for width in self.hidden:
            whole("family.hidden", width)
        if self.likelihood == "bernoulli" and not experiment.source.unit:
            allowed = f'"gaussian" for {type(experiment.source).__name__}, whose samples do not lie in [0, 1]'
            raise ConfigError("family.likelihood", "bernoulli", allowed)
        same_shape(self.shape, experiment.source)
        shape = self.shape or ()
        if self.architecture == "conv" and (len(shape) != 3 or shape[0] % 4 or shape[1] % 4):
            raise ConfigError("family.shape", shape, "height, width and channels, the first two divisible by 4, for conv")
        if self.endless and not (isinstance(experiment.regime, regimes.Replace) and not experiment.curation):
            raise ConfigError("family.endless", True, "used with Replace and without curation: there is no set of samples")
        if experiment.decoding is not None:
            if not isinstance(experiment.decoding, SamplingBias):
                raise ConfigError("decoding", repr(experiment.decoding), "None or SamplingBias for a VAE")
            experiment.decoding.validate()

    @property
    def form(self) -> tuple[Any, ...]:
        """What determines the network: its class and its shape."""
        shape = (self.shape, self.latent, self.hidden, self.likelihood == "gaussian")
        return ARCHITECTURES[self.architecture], shape

    def init(self, key: Array, shared: Shared) -> Any:
        """Random parameters: nested dictionaries of float32 arrays, whatever --x64 says."""
        return initial(key, *self.form)

    def network(self, params: Any) -> Any:
        """The networks, computing in `dtype`."""
        build, shape = self.form
        return bound(build, shape, jax.tree.map(lambda x: x.astype(self.dtype), params))

    def bounds(self, params: Any, x: Array, key: Array, beta: Any = 1.0) -> Array:
        """The evidence lower bound of every sample x [n, size], by one draw of z each: [n], nats."""
        net = self.network(params)
        mean, log_variance = (part.astype(jnp.float32) for part in net.encode(x.astype(self.dtype)))
        z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, axis=1)
        return self.likelihoods(net, z, x) - beta * divergence

    def likelihoods(self, net: Any, z: Array, x: Array) -> Array:
        """log p(x|z) of every pair: [n], nats."""
        out = net.decode(z.astype(self.dtype)).astype(jnp.float32)
        if self.likelihood == "bernoulli":
            return -jnp.sum(jax.nn.softplus(out) - out * x, axis=1)
        log_scale = net.zero_log_scale[...].astype(jnp.float32)
        return jnp.sum(-0.5 * ((x - out) * jnp.exp(-log_scale)) ** 2 - log_scale - 0.5 * np.log(2 * np.pi), axis=1)

    def fit(self, key: Array, params: Any, train: Slots, shared: Shared) -> tuple[Any, dict[str, Array]]:
        """See `training.Trained`; train_loss is the negative bound in nats a sample."""

        def loss(params: Any, samples: Array, noise: Array) -> Array:
            return -jnp.mean(self.bounds(params, samples, noise, self.beta))

        def validation(params: Any) -> Array:
            return loss(params, held_out(shared, split="validation"), jax.random.fold_in(key, 2**31))

        def endless(noise: Array, samples: Array) -> Array:
            drawn = lambda: self.sample(noise, shared["previous"], self.batch).astype(samples.dtype)
            return jax.lax.cond(shared["t"] > 0, drawn, lambda: samples)

        slices = self.batch // SLICE if self.sliced and self.batch % SLICE == 0 else 1
        return self.train(key, params, train, loss, validation, endless if self.endless else None, max(1, slices))

    @property
    def sliced(self) -> bool:
        return self.architecture == "conv" and jax.default_backend() == "cpu"

    def sample(self, key: Array, params: Any, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, size]; SamplingBias(λ) draws the latent from N(0, λ I) (truncation, as MAD has it for GANs)."""
        net, scale = self.network(params), jnp.sqrt(decoding.lam) if isinstance(decoding, SamplingBias) else 1.0
        z = scale * jax.random.normal(key, (n, self.latent))
        out = in_slices(lambda z: net.decode(z.astype(self.dtype)).astype(jnp.float32), z, SLICE if self.sliced else 1024)
        if self.likelihood == "bernoulli":
            out = jax.nn.sigmoid(out)
            drawn = lambda: jax.random.bernoulli(jax.random.fold_in(key, 1), out).astype(jnp.float32)
        else:
            noise = lambda: (
                jnp.exp(net.zero_log_scale[...].astype(jnp.float32)) * jax.random.normal(jax.random.fold_in(key, 1), out.shape)
            )
            drawn = lambda: out + noise()
        return drawn() if self.emit == "drawn" else out

    def means(self, params: Any, x: Array) -> Array:
        """The encoder's mean of every sample x [n, size]: [n, latent]."""
        net = self.network(params)
        return in_slices(lambda x: net.encode(x.astype(self.dtype))[0].astype(jnp.float32), x, SLICE if self.sliced else 1024)

    def measure(self, key: Array, params: Any, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """trace_ratio, log_variance, mean_sq_error of the samples; elbo on real held-out samples, with its error; latent_spread.

        latent_spread: the variance of the generation-0 encoder's means over this generation's samples, divided by that over
        real held-out samples (Nature 2024: it shrinks every generation).
        """
        assert samples is not None
        real = held_out(shared)
        spread = lambda x, weight: moments(self.means(shared["first"], x), weight)[1]
        some = samples.take(jnp.arange(min(HELD_OUT, len(samples.weight))))
        bounds = self.bounds(params, real, key)
        of_real = spread(real, jnp.ones(len(real)))
        return against_source(*moments(samples.samples, samples.weight), shared) | {
            "elbo": jnp.mean(bounds),
            "elbo_se": standard_error(bounds),
            "latent_spread": spread(some.samples, some.weight) / of_real,
        }

    def log_prob(self, params: Any, samples: Array, shared: Shared) -> Array:
        """A lower bound of log p of every sample [n, size]: [n], nats; of 64 weighted draws (Burda et al. 2016)."""
        net = self.network(params)

        def some(x: Array) -> Array:
            mean, log_variance = (part.astype(jnp.float32) for part in net.encode(x.astype(self.dtype)))
            noise = jax.random.normal(jax.random.key(0), (DRAWS, *mean.shape))

            def one(noise: Array) -> Array:
                z = mean + jnp.exp(0.5 * log_variance) * noise
                prior = -0.5 * jnp.sum(z**2, axis=1) + 0.5 * jnp.sum(noise**2 + log_variance, axis=1)
                return self.likelihoods(net, z, x) + prior

            return jax.nn.logsumexp(jax.lax.map(one, noise), axis=0) - np.log(DRAWS)

        return in_slices(some, samples, 256)
