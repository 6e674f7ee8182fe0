"""What a source is: the real distribution, or a finite real data set, that generation 0 is fitted on."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Shared = dict[str, Any]


class Source:
    """The real distribution p0. A subclass is a `@struct`; one of points or images, [n, dim], also knows its moments."""

    kind = "points"  # what a sample is: "points", numbers [dim]; "states", one whole number; "tokens", whole numbers [block]
    standard = False  # whether it is the standard normal distribution, whose distances are simple
    kept = 0  # samples of every generation that a run keeps for people to read: text by `decode`, images by `picture`
    unit = False  # whether all numbers of a sample but its label lie in [0, 1]
    full_rank = True  # whether its covariance has a determinant; of images some pixels never vary
    classes = 0  # labels 0 … classes - 1 in the last column of every sample; 0: there are none

    @property
    def labelled(self) -> bool:
        """Whether the last column of every sample is a label: a class, or the number that a regression predicts."""
        return self.classes > 0

    def validate(self) -> None:
        """Raise ConfigError where a field cannot be used."""

    def load(self, folder: Path | None) -> Shared:
        """Arrays that all chains share, made once on the host; what must outlive the process is kept in the run's `folder`."""
        return {}

    def limit_of(self, shared: Shared) -> int | None:
        """How many samples a finite real data set has; None: as many as wanted."""
        return None

    def as_samples(self, rows: Array) -> Array:
        """Rows of a table that `load` returned, such as "test", in the form `draw` gives samples in."""
        return rows

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n real samples [n, ...]; the first of them do not depend on n."""
        raise NotImplementedError(type(self).__name__)

    def draw_statistics(self, key: Array, count: Array, family: Any, shared: Shared) -> Any:
        """The sufficient statistics that `family` needs of `count` real samples, in exact law."""
        raise NotImplementedError(type(self).__name__)

    def mean(self, shared: Shared) -> Array:
        """Its mean: [dim]."""
        raise NotImplementedError(type(self).__name__)

    def covariance(self, shared: Shared) -> Array:
        """Its covariance: [dim, dim]."""
        raise NotImplementedError(type(self).__name__)

    def trace(self, shared: Shared) -> Any:
        """The trace of its covariance."""
        return jnp.trace(self.covariance(shared))

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        """Its log-density (log-probability) at samples [n, ...]: [n], nats."""
        raise NotImplementedError(type(self).__name__)
