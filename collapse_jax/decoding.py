"""Sampling rules: how the next token is drawn from a model's logits, and the sampling bias of closed-form families."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import number, whole
from collapse_jax.struct import replace, static, struct

Array = jax.Array
NEVER = -1e30  # a logit of a token that must not be drawn


@struct
class Ancestral:
    """Draw from the model's own distribution, sharpened or cut.

    temperature: above 0; top_k: keep the k likeliest tokens; top_p: keep the fewest that hold this share, in (0, 1];
    repetition_penalty: divide positive (multiply negative) logits of tokens already in the sequence (Keskar et al. 2019).
    """

    temperature: Any = 1.0
    top_k: int | None = static(default=None)
    top_p: Any = None
    repetition_penalty: Any = 1.0

    def validate(self, vocabulary: int) -> None:
        """Raise ConfigError where a field cannot be used with this vocabulary."""
        largest = float(np.finfo(np.float32).max)
        number("decoding.temperature", self.temperature, 0, largest, above=True)
        if self.repetition_penalty is not None:
            number("decoding.repetition_penalty", self.repetition_penalty, 0, largest, above=True)
        if self.top_k is not None:
            whole("decoding.top_k", self.top_k, 1, vocabulary, ", the vocabulary")
        if self.top_p is not None:
            number("decoding.top_p", self.top_p, 0, 1, above=True)

    def settled(self) -> "Ancestral":
        """The same rule with a penalty of 1 as None: then no table of seen tokens is kept."""
        off = self.repetition_penalty is None or bool(np.all(np.asarray(self.repetition_penalty) == 1))
        return replace(self, repetition_penalty=None) if off else self

    def choose(self, key: Array, logits: Array, seen: Array | None = None) -> Array:
        """A token for every row of logits [batch, vocabulary]: int32 [batch]."""
        if seen is not None and self.repetition_penalty is not None:
            logits = penalise(logits, seen, self.repetition_penalty)
        # Differences to the likeliest, so that no temperature is too low: at 1e-30 this is the argmax.
        logits = (logits - jnp.max(logits, axis=-1, keepdims=True)) / self.temperature
        return draw(key, cut(logits, self.top_k, self.top_p))


@struct
class Greedy:
    """Always the likeliest token (the lowest of equals)."""

    def validate(self, vocabulary: int) -> None:
        """Nothing to check."""

    def choose(self, key: Array, logits: Array, seen: Array | None = None) -> Array:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)


@struct
class Beam:
    """Beam search: the likeliest of the `width` best sequences kept at every step."""

    width: int = static(default=5)

    def validate(self, vocabulary: int) -> None:
        """Raise ConfigError unless 1 <= width <= vocabulary."""
        whole("decoding.width", self.width, 1, vocabulary, ", the vocabulary")


@struct
class SamplingBias:
    """MAD's sampling bias λ in (0, 1]: samples nearer to the mode, for a Gaussian N(μ, λ Σ) (arXiv 2307.01850)."""

    lam: Any = 1.0

    def validate(self, vocabulary: int = 0) -> None:
        """Raise ConfigError unless λ lies in (0, 1]."""
        number("decoding.lam", self.lam, 0, 1, above=True)


def penalise(logits: Array, seen: Array, penalty: Array | float) -> Array:
    """Logits with those of tokens in `seen` [batch, vocabulary] divided by the penalty where positive, multiplied where not."""
    return jnp.where(seen, jnp.where(logits > 0, logits / penalty, logits * penalty), logits)


def cut(logits: Array, top_k: int | None, top_p: Array | float | None) -> Array:
    """Logits with all but the k likeliest, then all but the nucleus of mass p, made impossible.

    Ties at the k-th place are all kept; the nucleus is the fewest likeliest tokens whose mass reaches p (Holtzman et al. 2020).
    """
    if top_k is not None and top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits >= least, logits, NEVER)
    if top_p is not None:
        ordered = -jnp.sort(-logits, axis=-1)
        mass = jnp.cumsum(jax.nn.softmax(ordered, axis=-1), axis=-1)
        last = jnp.sum(mass < top_p, axis=-1, keepdims=True)
        least = jnp.take_along_axis(ordered, jnp.minimum(last, logits.shape[-1] - 1), axis=-1)
        logits = jnp.where(logits >= least, logits, NEVER)
    return logits


def draw(key: Array, logits: Array) -> Array:
    """One token a row, of logits whose largest is 0, by one uniform and the inverse of the cumulative distribution: int32 [batch].

    Gumbel noise would need a random number for every token of the vocabulary.
    """
    return inverse_cdf(jnp.exp(logits), jax.random.uniform(key, (logits.shape[0], 1)))


def inverse_cdf(weight: Array, uniform: Array) -> Array:
    """The token at which the running sum of weights [batch, V] passes uniform [batch, 1] of the total: int32 [batch].

    The running sum goes in two levels of about √V: two short scans in place of one long one. A token of weight 0 is never drawn.
    """
    batch, v = weight.shape
    side = int(np.ceil(np.sqrt(v)))
    blocks = jnp.pad(weight, ((0, 0), (0, side * side - v))).reshape(batch, side, side)
    coarse = jnp.cumsum(jnp.sum(blocks, axis=-1), axis=-1)
    target = uniform * coarse[:, -1:]
    block = jnp.minimum(jnp.sum(coarse <= target, axis=-1), side - 1)
    last = jnp.max(jnp.where(jnp.sum(blocks, axis=-1) > 0, jnp.arange(side), 0), axis=-1)
    block = jnp.minimum(block, last)
    before = jnp.where(block > 0, jnp.take_along_axis(coarse, jnp.maximum(block - 1, 0)[:, None], axis=1)[:, 0], 0.0)
    row = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    fine = jnp.cumsum(row, axis=-1)
    place = jnp.sum(fine <= (target - before[:, None]), axis=-1)
    place = jnp.minimum(place, jnp.max(jnp.where(row > 0, jnp.arange(side), 0), axis=-1))
    return (block * side + place).astype(jnp.int32)
