"""What a model family is to the engine: how it is fitted, sampled and measured, for one chain."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.data import Frame, Slots
from collapse_jax.errors import ConfigError

Array = jax.Array
Shared = dict[str, Any]


class Family:
    """A generative model with its fit. Pure; one chain; keys are consumed; `shared` is what all chains use.

    A subclass is a `@struct`: numbers that may differ within one compiled program are leaves, the rest is static.
    """

    neural = False  # a checkpoint every generation, all of them kept
    self_shaped = False  # `init` needs nothing of the source or its data: a run's models can be read where these are gone
    trained = False  # takes `start` and `budget`
    lapack = False  # its chains call LAPACK on CPUs: they are never vmapped there (see parallel.layout)
    labels = False  # it can be fitted to samples whose last column is a label (see Source.labelled)
    least_slots = 1024  # closed forms: that generation 0 is fitted on, filled or not, so that one program serves many sizes
    remembers = False  # `measure` finds the parameters of generation 0 in shared["first"]
    sampled: Mapping[str, int] = MappingProxyType({})  # columns of `measure` made of samples, and how many each needs at least

    @property
    def has_density(self) -> bool:
        """Whether `log_prob` is known: what the likelihood filter asks for."""
        return type(self).log_prob is not Family.log_prob

    def settled(self, experiment: Any) -> Any:
        """The family with what it takes from its experiment filled in; called before `validate`."""
        return self

    def validate(self, experiment: Any) -> None:
        """Raise ConfigError where a field, alone or with the rest of the experiment, cannot be used."""

    def meaning(self) -> dict[str, Any]:
        """Fields that, beside their shapes, say what parameters stand for: a base must come of a family with the same."""
        return {}

    def check_meaning(self, origin: Any) -> None:
        """Raise ConfigError where parameters that the family `origin` made stand for something else in this one."""
        theirs = origin.meaning()
        for name, value in self.meaning().items():
            if theirs.get(name, value) != value:
                raise ConfigError(f"family.{name}", value, f"{theirs[name]}, as the model of these weights has it")

    def init(self, key: Array, shared: Shared) -> Any:
        """Untrained parameters; shared["slots"] says how many slots a training set has, for families that keep it."""
        raise NotImplementedError(type(self).__name__)

    def fit(self, key: Array, params: Any, train: Any, shared: Shared) -> tuple[Any, dict[str, Array]]:
        """Parameters fitted on `train` (Slots, or the family's statistics), starting from `params`; and scalars to record.

        shared["t"] is the generation, shared["previous"] the parameters of the one before (at 0: those it starts from).
        """
        raise NotImplementedError(type(self).__name__)

    def resized(self, params: Any, slots: int) -> Any:
        """Parameters of generation 0 as they are where training sets have `slots` slots, at least as many as are filled."""
        return params

    def failed(self, params: Any) -> Array:
        """Whether a fit has left no usable model: bool []. The chain is then marked as failed."""
        leaves = [x for x in jax.tree.leaves(params) if jnp.issubdtype(x.dtype, jnp.inexact)]
        return jnp.any(jnp.stack([jnp.any(~jnp.isfinite(x)) for x in leaves]))

    def sample(self, key: Array, params: Any, n: int, decoding: Any, prompts: Array | None = None) -> Array:
        """n samples [n, ...], in the units of `frame(params)` where that is not None."""
        raise NotImplementedError(type(self).__name__)

    def frame(self, params: Any) -> Frame | None:
        """The coordinates of this model's samples; None: the source's own."""
        return None

    def measure(self, key: Array, params: Any, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """This generation's metrics: scalars or fixed-size arrays by record name. `samples` is None with statistics."""
        raise NotImplementedError(type(self).__name__)

    def log_prob(self, params: Any, samples: Array, shared: Shared) -> Array:
        """Log-probability (density) of every sample: [n], nats."""
        raise NotImplementedError(type(self).__name__)

    def chunk(self, samples: int, platform: str) -> int:
        """How many chains a device of this platform runs as one vmapped batch (1: one after the other).

        Chosen by measurement on CPUs (benchmarks/chunks.py); on accelerators, where none was at hand, wide enough to fill one.
        """
        return 1 if platform == "cpu" else 16

    def exact(self, experiment: Any) -> bool:
        """Whether sufficient statistics should stand in for samples where the regime allows it."""
        return False
