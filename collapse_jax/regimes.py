"""Regimes: what the next model is trained on, composed from real, previous and newly drawn samples.

The frame is p_next = α·p_model + β·p_previous + γ·p_real (Shumailov et al., Nature 2024). Every regime is written once
for samples in slots (`data.Slots`) and for exact sufficient statistics: both can be joined and appended to.
`shared` gives what a regime may need of its experiment: "source", "family", "sizes", "slots" (of a training set), "frame".
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import draws, schedules
from collapse_jax.checks import choice, number, whole
from collapse_jax.data import Data, Slots, empty, join, pooled, shuffled
from collapse_jax.errors import ConfigError
from collapse_jax.struct import replace, static, struct

Array = jax.Array
Shared = dict[str, Any]


def real(key: Array, count: Array, slots: int, shared: Shared) -> Data:
    """`count` new samples from the source, in `slots` slots (or as statistics, where the family keeps those)."""
    source, family = shared["source"], shared["family"]
    if getattr(family, "statistics", False):
        return source.draw_statistics(key, count, family, shared)
    return Slots.of(source.draw(key, slots, shared), 0, shared["frame"], count)


def size(shared: Shared, t: Array | int) -> Array:
    """Samples in the data set of generation t (the last size goes on for ever)."""
    counts = shared["sizes"].counts
    return jnp.asarray(counts)[jnp.minimum(t, len(counts) - 1)]


class Regime:
    """Replace is the base: the next training set is the new samples alone."""

    def validate(self, samples: np.ndarray) -> None:
        """Raise ConfigError where a field is out of range for the table of sample sizes."""

    def exact(self) -> bool:
        """Whether sufficient statistics give this regime's law exactly."""
        return True

    def slots(self, capacity: int, total: int) -> int:
        """How many slots a training set has; capacity: of the largest generation; total: of all generations together."""
        return capacity

    def new(self, m: Array, t: Array | int) -> Array:
        """How many synthetic samples the training set of generation t takes, of m samples in all."""
        return m

    def begin(self, real: Data, shared: Shared) -> Any:
        """The store that holds the first real data."""
        return real

    def training_set(self, store: Any, shared: Shared) -> Data:
        """What the next model is fitted on: Slots with weights, or statistics."""
        return store

    def update(self, key: Array, store: Any, new: Data, shared: Shared, t: Array | int) -> Any:
        """The store after generation t, whose model drew `new`."""
        raise NotImplementedError(type(self).__name__)

    def control(self, key: Array, store: Any, real: Data, shared: Shared, t: Array | int, again: bool) -> Any:
        """`update` of a control chain: as many `real` samples as generation t + 1 has in place of all synthetic ones.

        again: they are those of generation 0, and no other real ones may join them.
        """
        return self.update(key, store, real, shared, t)

    def compose(self, key: Array, store: Any, new: Data, shared: Shared, t: Array | int) -> tuple[Any, Data]:
        """The store after generation t and the training set of generation t + 1."""
        store = self.update(key, store, new, shared, t)
        return store, self.training_set(store, shared)


@struct
class Replace(Regime):
    """Each model is trained on the samples of the one before, and on nothing else."""

    def update(self, key: Array, store: Data, new: Data, shared: Shared, t: Array | int) -> Data:
        return pooled([new], [size(shared, t + 1)], shared["sizes"].capacity)


@struct
class Grown:
    """All samples so far in the first slots; the next model is trained on the first `m` of `index`, if not on all."""

    slots: Slots
    index: Array | None = None
    m: Array | None = None


@struct
class Accumulate(Regime):
    """Each model is trained on everything so far: the real data and every generation's samples (Gerstgrasser et al. 2024)."""

    def slots(self, capacity: int, total: int) -> int:
        return total

    def begin(self, real: Data, shared: Shared) -> Any:
        if not isinstance(real, Slots):
            return real
        return Grown(empty(real, shared["sizes"].total).write(real, jnp.int32(0)))

    def training_set(self, store: Any, shared: Shared) -> Data:
        return store.slots if isinstance(store, Grown) else store

    def update(self, key: Array, store: Any, new: Data, shared: Shared, t: Array | int) -> Any:
        return append(store, new, shared, t) if isinstance(store, Grown) else store.append(new)


def append(store: Grown, new: Slots, shared: Shared, t: Array | int) -> Grown:
    """`new` behind what the store holds; there is room for every generation up to the last.

    Past it: ValueError, or, inside a compiled program, weights that are NaN, and with them every later fit.
    """
    count, capacity, at = size(shared, t + 1), shared["sizes"].capacity, held(shared, t)
    full = at + capacity > store.slots.samples.shape[0]
    if not isinstance(full, jax.core.Tracer) and full:
        raise ValueError(f"the store's {store.slots.samples.shape[0]} slots hold the generations of this experiment only")
    written = join([new], [count], capacity)
    written = replace(written, weight=jnp.where(full, jnp.nan, written.weight))
    return replace(store, slots=store.slots.write(written, at))


def held(shared: Shared, t: Array | int) -> Array:
    """How many samples all generations up to t have together.

    Told from t, not kept by each chain: chains that are vmapped then write to one place, which is a copy, not a scatter.
    """
    counts = jnp.asarray(shared["sizes"].counts)
    last = counts.shape[0] - 1
    return jnp.sum(jnp.where(jnp.arange(last + 1) <= t, counts, 0), dtype=jnp.int32) + jnp.maximum(t - last, 0) * counts[last]


@struct
class AccumulateSubsample(Regime):
    """Everything is kept, but each model sees only as many samples of it as one generation has, drawn uniformly."""

    replacement: bool = static(default=False)

    def validate(self, samples: np.ndarray) -> None:
        choice("regime.replacement", self.replacement, (False, True))
        running = np.cumsum(samples)
        if not self.replacement and (samples > running).any():
            raise ConfigError("samples", samples.max(), "no more than all samples so far")

    def exact(self) -> bool:
        return False

    def begin(self, real: Slots, shared: Shared) -> Grown:
        store = empty(real, shared["sizes"].total).write(real, jnp.int32(0))
        m = size(shared, 0)
        return Grown(store, jnp.arange(shared["sizes"].capacity, dtype=jnp.int32), m)

    def training_set(self, store: Grown, shared: Shared) -> Slots:
        assert store.index is not None and store.m is not None
        taken = store.slots.take(store.index)
        return replace(taken, weight=jnp.where(jnp.arange(len(store.index)) < store.m, taken.weight, 0.0))

    def update(self, key: Array, store: Grown, new: Slots, shared: Shared, t: Array | int) -> Grown:
        store = append(store, new, shared, t)
        slots, total, m = shared["sizes"].capacity, store.slots.samples.shape[0], size(shared, t + 1)
        filled = held(shared, t + 1)

        def few() -> Array:
            return draws.distinct(key, filled, m, slots)

        def shuffle() -> Array:
            order = jnp.where(jnp.arange(total) < filled, jax.random.bits(key, (total,)) >> 1, jnp.uint32(2**32 - 1))
            return jnp.argsort(order)[:slots].astype(jnp.int32)

        if self.replacement:
            index = draws.below(key, filled, (slots,)).astype(jnp.int32)
        else:
            index = jax.lax.cond(filled >= 2 * m, few, shuffle)
        return replace(store, index=index, m=m)

    def control(self, key: Array, store: Grown, real: Slots, shared: Shared, t: Array | int, again: bool) -> Grown:
        """The newest samples alone: all of them are real."""
        newest = held(shared, t) + jnp.arange(shared["sizes"].capacity, dtype=jnp.int32)
        return replace(append(store, real, shared, t), index=newest, m=size(shared, t + 1))


@struct
class Kept:
    """One finite real set, and the training set of the moment."""

    real: Slots | None
    current: Data


KEPT = ("fresh", "redrawn", "fixed")


@struct
class Mix(Regime):
    """A share `model` of new, `previous` of the training set before, `real` of real samples (Nature 2024: α, β, γ).

    kept: "fresh" draws new real samples each generation, "redrawn" draws anew from the first real set (without
    replacement), "fixed" keeps one subset of it for ever: three different laws. Shares lie in [0, 1] and sum to 1;
    `real` may be a schedule over generations (Linear, Power), then `model` is None and takes the rest.
    """

    model: Any = 0.9
    previous: Any = 0.0
    real: Any = 0.1
    kept: str = static(default="redrawn")

    def validate(self, samples: np.ndarray) -> None:
        real = schedules.share_table(self.real, len(samples))
        choice("regime.kept", self.kept, KEPT)
        number("regime.previous", self.previous, 0, 1)
        rest = (
            1.0 - real - self.previous if self.model is None else schedules.share_table(self.model, len(samples), "regime.model")
        )
        for name, value in (("real", real), ("model", rest)):
            schedules.within("regime." + name, value)
        total = np.asarray(rest) + self.previous + real
        if not np.allclose(total, 1.0, atol=1e-6):
            raise ConfigError("regime.model + previous + real", f"{float(np.ravel(total)[0]):g}", "1 in all")
        if self.kept != "fresh" and (np.rint(real * samples) > samples[0]).any():
            raise ConfigError("regime.real", self.real, f"no more real samples than the first set's {samples[0]}")
        if (np.rint(np.asarray(self.previous) * samples[1:]) > samples[:-1]).any():
            raise ConfigError("regime.previous", self.previous, "no more samples than the training set before has")

    def exact(self) -> bool:
        return self.kept == "fresh" and not np.any(np.asarray(self.previous))

    def counts(self, m: Array, t: Array | int) -> tuple[Array, Array, Array]:
        """How many of m samples in generation t are real, previous and new."""
        share = jnp.asarray(self.real)
        share = share[jnp.minimum(t, share.shape[0] - 1)] if share.ndim else share
        real = jnp.round(share * m).astype(jnp.int32)
        previous = jnp.minimum(jnp.round(jnp.asarray(self.previous) * m).astype(jnp.int32), m - real)
        return real, previous, m - real - previous

    def new(self, m: Array, t: Array | int) -> Array:
        return self.counts(m, t)[2]

    def begin(self, real: Data, shared: Shared) -> Kept:
        return Kept(None if self.kept == "fresh" else real, real)

    def training_set(self, store: Kept, shared: Shared) -> Data:
        return store.current

    def update(self, key: Array, store: Kept, new: Data, shared: Shared, t: Array | int) -> Kept:
        n_real, n_previous, n_new = self.counts(size(shared, t + 1), t + 1)
        slots = shared["sizes"].capacity
        if store.real is None:
            anew = real(jax.random.fold_in(key, 0), n_real, slots, shared)
        elif self.kept == "fixed":
            anew = store.real
        else:
            anew = store.real.take(shuffled(jax.random.fold_in(key, 0), store.real))
        if not isinstance(new, Slots):
            return replace(store, current=pooled([anew, new], [n_real, n_new], slots))
        before = store.current.take(shuffled(jax.random.fold_in(key, 1), store.current))
        return replace(store, current=join([anew, before, new], [n_real, n_previous, n_new], slots))

    def control(self, key: Array, store: Kept, real: Data, shared: Shared, t: Array | int, again: bool) -> Kept:
        return replace(store, current=pooled([real], [size(shared, t + 1)], shared["sizes"].capacity))


@struct
class Fresh(Regime):
    """`real_samples` new real samples beside the synthetic ones in every generation after the first (MAD fresh-data loop)."""

    real_samples: int = static(default=10)

    def validate(self, samples: np.ndarray) -> None:
        whole("regime.real_samples", self.real_samples)

    def slots(self, capacity: int, total: int) -> int:
        return capacity + self.real_samples

    def begin(self, real: Data, shared: Shared) -> Data:
        return join([real], [size(shared, 0)], shared["slots"]) if isinstance(real, Slots) else real

    def update(self, key: Array, store: Data, new: Data, shared: Shared, t: Array | int) -> Data:
        n = jnp.int32(self.real_samples)
        anew = real(key, n, self.real_samples, shared)
        return pooled([anew, new], [n, size(shared, t + 1)], shared["slots"])

    def control(self, key: Array, store: Data, real: Data, shared: Shared, t: Array | int, again: bool) -> Data:
        """Without the `real_samples` where no others may join."""
        return pooled([real], [size(shared, t + 1)], shared["slots"]) if again else self.update(key, store, real, shared, t)


@struct
class Weighted(Regime):
    """As many real as synthetic samples, the real ones with weight `real_weight` in the loss, the others with the rest.

    kept: "fresh" draws the real ones anew each generation, "fixed" keeps the first set (arXiv 2502.18049).
    """

    real_weight: Any = 0.5
    kept: str = static(default="fresh")

    def validate(self, samples: np.ndarray) -> None:
        choice("regime.kept", self.kept, ("fresh", "fixed"))
        number("regime.real_weight", self.real_weight, 0, 1)
        if self.kept == "fixed" and (samples > samples[0]).any():
            raise ConfigError("samples", samples.max(), f"no more than the first real set's {samples[0]} with kept=fixed")

    def exact(self) -> bool:
        return self.kept == "fresh"

    def slots(self, capacity: int, total: int) -> int:
        return 2 * capacity

    def begin(self, real: Data, shared: Shared) -> Kept:
        wide = join([real], [size(shared, 0)], shared["slots"]) if isinstance(real, Slots) else real
        return Kept(None if self.kept == "fresh" else real, wide)

    def training_set(self, store: Kept, shared: Shared) -> Data:
        return store.current

    def update(self, key: Array, store: Kept, new: Data, shared: Shared, t: Array | int) -> Kept:
        anew = real(key, size(shared, t + 1), shared["sizes"].capacity, shared) if store.real is None else store.real
        return self.weighed(store, anew, new, shared, t)

    def control(self, key: Array, store: Kept, real: Data, shared: Shared, t: Array | int, again: bool) -> Kept:
        return self.weighed(store, real, real, shared, t) if again else self.update(key, store, real, shared, t)

    def weighed(self, store: Kept, anew: Data, new: Data, shared: Shared, t: Array | int) -> Kept:
        """`anew` and `new`, each of the size of generation t + 1, with their weights."""
        m = size(shared, t + 1)
        # Doubled, so that weights average 1 and a budget in epochs keeps its meaning.
        weights = [2.0 * self.real_weight, 2.0 * (1.0 - self.real_weight)]
        return replace(store, current=pooled([anew, new], [m, m], shared["slots"], weights))


def resolved(regime: Regime, generations: int) -> Regime:
    """The regime with every number a float32 leaf; a scheduled share becomes a table [generations + 1]."""
    if isinstance(regime, Mix):
        scheduled = isinstance(regime.real, schedules.Constant | schedules.Linear | schedules.Power)
        real = schedules.share_table(regime.real, generations + 1) if scheduled else regime.real
        rest = 1.0 - real - regime.previous if regime.model is None else regime.model
        regime = replace(regime, model=rest, real=real)
    return jax.tree.map(lambda x: np.asarray(x, jnp.result_type(float)), regime)
