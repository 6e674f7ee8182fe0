"""Samples in slots: what a store holds and what a model is fitted on, with the origin of every slot."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.struct import replace, struct

Array = jax.Array
Data = Any  # Slots, or a family's sufficient statistics


@struct
class Frame:
    """Coordinates of samples whose spread may be far below the float's resolution: x = shift + exp(log_scale) * unit.

    shift: [d]; log_scale: [].
    """

    shift: Array
    log_scale: Array


@struct
class Slots:
    """A fixed number of slots: samples [n, ...], weight [n] (0: empty), origin [n] (0: real, t+1: model of generation t)."""

    samples: Array
    weight: Array
    origin: Array
    frame: Frame | None = None

    @property
    def count(self) -> Array:
        """How many slots are filled."""
        return jnp.sum(self.weight > 0)

    @staticmethod
    def of(samples: Array, origin: Array | int, frame: Frame | None = None, count: Array | int | None = None) -> "Slots":
        """Slots holding `samples`, all of one origin; only the first `count` are filled."""
        n = samples.shape[0]
        weight = jnp.ones(n) if count is None else (jnp.arange(n) < count).astype(float)
        return Slots(samples, weight, jnp.full(n, origin, jnp.int32), frame)

    def absolute(self) -> Array:
        """The samples in the source's own coordinates."""
        if self.frame is None:
            return self.samples
        return self.frame.shift + jnp.exp(self.frame.log_scale) * self.samples

    def to(self, frame: Frame | None) -> "Slots":
        """The same samples in the coordinates of `frame`."""
        if self.frame is None or frame is None:
            return self
        scale = jnp.exp(self.frame.log_scale - frame.log_scale)
        offset = (self.frame.shift - frame.shift) * jnp.exp(-frame.log_scale)
        return replace(self, samples=self.samples * scale + offset, frame=frame)

    def take(self, index: Array) -> "Slots":
        """The slots at `index` [m]."""
        return Slots(self.samples[index], self.weight[index], self.origin[index], self.frame)

    def write(self, new: "Slots", at: Array) -> "Slots":
        """`new` written into the slots from `at` on (the caller has made sure that they exist)."""
        new = new.to(self.frame)

        def put(old: Array, value: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(old, value.astype(old.dtype), at, 0)

        return Slots(put(self.samples, new.samples), put(self.weight, new.weight), put(self.origin, new.origin), self.frame)


def empty(like: Slots, capacity: int) -> Slots:
    """`capacity` empty slots for samples like those of `like`, in its frame."""
    samples = jnp.zeros((capacity, *like.samples.shape[1:]), like.samples.dtype)
    return Slots(samples, jnp.zeros(capacity), jnp.zeros(capacity, jnp.int32), like.frame)


def common_frame(parts: Sequence[Slots], counts: Sequence[Array]) -> Frame | None:
    """The frame of the widest part that is used at all: no part loses more than that part's own rounding."""
    chosen = parts[0].frame
    if chosen is None or len(parts) == 1:
        return chosen
    best = jnp.where(counts[0] > 0, chosen.log_scale, -jnp.inf)
    for part, count in zip(parts[1:], counts[1:], strict=True):
        assert part.frame is not None
        wider = (count > 0) & (part.frame.log_scale > best)
        best = jnp.where(wider, part.frame.log_scale, best)
        chosen = jax.tree.map(lambda new, old, wider=wider: jnp.where(wider, new, old), part.frame, chosen)
    return chosen


def join(parts: Sequence[Slots], counts: Sequence[Array], slots: int) -> Slots:
    """The first `counts[j]` samples of every part, one part after the other, in `slots` slots; the rest stay empty."""
    frame = common_frame(parts, counts)
    if len(parts) == 1 and parts[0].samples.shape[0] == slots:
        filled = jnp.arange(slots) < counts[0]
        return replace(parts[0], weight=jnp.where(filled, parts[0].weight, 0.0))
    whole = [part.to(frame) for part in parts]
    position = jnp.arange(slots)
    index, start, first = jnp.zeros(slots, jnp.int32), jnp.int32(0), 0
    for part, count in zip(whole, counts, strict=True):
        inside = (position >= start) & (position < start + count)
        index = jnp.where(inside, first + position - start, index)
        start, first = start + count, first + part.samples.shape[0]
    pooled = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *[replace(part, frame=None) for part in whole])
    taken = pooled.take(index)
    return replace(taken, weight=jnp.where(position < start, taken.weight, 0.0), frame=frame)


def pooled(parts: list[Data], counts: list[Array], slots: int, weights: list[Any] | None = None) -> Data:
    """The union of the first `counts[j]` samples of every part, weighted: gathered into slots, or summed as statistics."""
    if isinstance(parts[0], Slots):
        if weights is not None:
            parts = [replace(part, weight=part.weight * w) for part, w in zip(parts, weights, strict=True)]
        return join(parts, counts, slots)
    return type(parts[0]).join(parts, [1.0] * len(parts) if weights is None else weights)


def shuffled(key: Array, slots: Slots) -> Array:
    """A random order of the filled slots, the empty ones after them: int32 [n]."""
    order = jnp.where(slots.weight > 0, jax.random.uniform(key, slots.weight.shape), 2.0)
    return jnp.argsort(order).astype(jnp.int32)
