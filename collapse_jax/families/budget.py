"""How long a trained family is fitted: in passes over the training set, or in steps."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import whole
from collapse_jax.errors import ConfigError
from collapse_jax.struct import static, struct


@struct
class Epochs:
    """Passes over the training set: a larger training set takes more steps."""

    value: int = static(default=6)

    def steps(self, samples: jax.Array, batch: int) -> jax.Array:
        """Steps for a training set of `samples`, the last batch of a pass being filled up from its beginning."""
        return self.value * jnp.maximum(1, -(-samples // batch))


@struct
class Steps:
    """A fixed number of minibatches, whatever the training set's size."""

    value: int = static(default=100)

    def steps(self, samples: jax.Array, batch: int) -> jax.Array:
        return jnp.int32(self.value)


def check(budget: Any) -> None:
    """Raise ConfigError unless `budget` is Epochs or Steps of at least 1."""
    if not isinstance(budget, Epochs | Steps):
        raise ConfigError("family.budget", repr(budget), "Epochs(n) or Steps(n) with n of at least 1")
    whole("family.budget", budget.value)
