"""How n-gram counts become probabilities: add-k, interpolation with fixed weights, and Witten–Bell's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import number
from collapse_jax.errors import ConfigError
from collapse_jax.struct import struct

Array = jax.Array
Tables = list[Array]  # counts [contexts, vocabulary] of orders 1 … n; a context of order m is the last m - 1 tokens


def relative(counts: Array) -> Array:
    """Relative frequencies in every row; uniform where a row is empty."""
    total = jnp.sum(counts, axis=-1, keepdims=True)
    return jnp.where(total > 0, counts / jnp.where(total > 0, total, 1.0), 1.0 / counts.shape[-1])


def longer(lower: Array, contexts: int) -> Array:
    """Rows of a shorter context [fewer, vocabulary] for every context that ends with it: [contexts, vocabulary]."""
    return jnp.tile(lower, (contexts // lower.shape[0], 1))


@struct
class AddK:
    """(count + k) / (total + k · vocabulary), k >= 0 (Lidstone); 0 is maximum likelihood, uniform after an unseen context."""

    k: Any = 0.0

    def validate(self, order: int) -> None:
        """Raise ConfigError unless k is a number of at least 0."""
        number("family.smoothing.k", self.k, 0, 1e9)

    def probabilities(self, tables: Tables) -> Array:
        """p(token | context) for all contexts of the highest order: [contexts, vocabulary]."""
        return relative(tables[-1] + self.k)


@struct
class JelinekMercer:
    """Σ_m weights[m] · p_m: maximum likelihood of orders n … 1, then the uniform distribution (Jelinek & Mercer 1980).

    weights: n + 1 numbers of at least 0 that sum to 1. Where a context is unseen, its order's share is uniform.
    """

    weights: Any

    def __post_init__(self) -> None:
        if isinstance(self.weights, list | tuple):  # one leaf, not one for every weight
            object.__setattr__(self, "weights", np.asarray(self.weights))

    def validate(self, order: int) -> None:
        """Raise ConfigError unless there are order + 1 weights that sum to 1."""
        array = np.asarray(self.weights)
        good = array.dtype.kind in "iuf" and array.shape == (order + 1,) and (array >= 0).all() and abs(array.sum() - 1) < 1e-5
        if not good:
            allowed = f"{order + 1} numbers of at least 0 that sum to 1: for orders {order} … 1 and the uniform distribution"
            raise ConfigError("family.smoothing.weights", array.tolist(), allowed)

    def probabilities(self, tables: Tables) -> Array:
        """p(token | context) for all contexts of the highest order: [contexts, vocabulary]."""
        contexts, vocabulary = tables[-1].shape
        parts = [longer(relative(counts), contexts) for counts in reversed(tables)]
        return sum(w * part for w, part in zip(self.weights[:-1], parts, strict=True)) + self.weights[-1] / vocabulary


@struct
class WittenBell:
    """p_m = (count + different · p_(m-1)) / (total + different): different tokens seen after the context (Witten & Bell 1991).

    Ends at order 1's maximum likelihood, as NLTK does; an unseen context has the probabilities of the shorter one.
    """

    def validate(self, order: int) -> None:
        """Nothing to check."""

    def probabilities(self, tables: Tables) -> Array:
        """p(token | context) for all contexts of the highest order: [contexts, vocabulary]."""
        p = relative(tables[0])
        for counts in tables[1:]:
            lower = longer(p, counts.shape[0])
            different = jnp.sum(counts > 0, axis=1, keepdims=True)
            total = jnp.sum(counts, axis=1, keepdims=True)
            p = jnp.where(total > 0, (counts + different * lower) / jnp.where(total > 0, total + different, 1.0), lower)
        return p
