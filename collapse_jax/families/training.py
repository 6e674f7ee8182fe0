"""How neural families are fitted: AdamW on shuffled minibatches, with a learning-rate schedule and a look at validation data."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from collapse_jax import sharding
from collapse_jax.checks import choice, number, whole
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families import budget as budgets
from collapse_jax.families.budget import Epochs
from collapse_jax.struct import static

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """The recipe of a neural family, as fields that it takes by name.

    learning_rate, weight_decay, clip (gradient norm; inf: off): leaves; warmup, final_rate: shares of the steps and of the
    rate, leaves; b1, b2, eps: Adam's (Kingma & Ba 2015, algorithm 1), leaves; schedule: "cosine" or "constant" after the
    warm-up; decay: "decoupled" (AdamW) or "l2" (added to the gradient, as PyTorch's Adam does); budget: Epochs(n) or Steps(n);
    accumulate: slices that a batch's gradient is summed over (None: the family's own choice).
    select: "last" parameters of a fit, or the "best" on validation data out of `evaluations` looks (or some more, where steps do not
    divide evenly); patience: stop after so many looks without a better one (None: never).
    A training set's fractional weights say how often a sample is drawn; empty slots never are.
    """

    batch: int = static(default=32)
    budget: Any = static(default=Epochs(6))
    schedule: str = static(default="cosine")
    decay: str = static(default="decoupled")
    accumulate: int | None = static(default=None)
    select: str = static(default="last")
    evaluations: int = static(default=4)
    patience: int | None = static(default=None)
    learning_rate: Any = 3e-3
    warmup: Any = 0.05
    final_rate: Any = 0.1
    weight_decay: Any = 0.01
    clip: Any = 1.0
    b1: Any = 0.9
    b2: Any = 0.99
    eps: Any = 1e-8

    neural = True
    trained = True

    def check_recipe(self) -> None:
        """Raise ConfigError where a field of the recipe cannot be used."""
        whole("family.batch", self.batch)
        whole("family.evaluations", self.evaluations)
        if self.patience is not None:
            whole("family.patience", self.patience)
        if self.accumulate is not None:
            whole("family.accumulate", self.accumulate)
            if self.batch % self.accumulate:
                raise ConfigError("family.accumulate", self.accumulate, f"a divisor of batch, {self.batch}")
        choice("family.schedule", self.schedule, ("cosine", "constant"))
        choice("family.decay", self.decay, ("decoupled", "l2"))
        choice("family.select", self.select, ("last", "best"))
        rates = {"learning_rate": 1e3, "weight_decay": 1e3, "warmup": 1, "final_rate": 1}
        for name, high in (rates | {"b1": 0.999999, "b2": 0.999999, "eps": 1}).items():
            number(f"family.{name}", getattr(self, name), 0, high)
        number("family.clip", self.clip, 0, above=True, note=", or infinity", infinite=True)
        budgets.check(self.budget)

    def rate(self, step: Array, steps: Array) -> Array:
        """The learning rate of one step: linear warm-up, then constant or half a cosine down to final_rate."""
        share = step / jnp.maximum(steps, 1)
        up = jnp.minimum(1.0, (step + 1) / jnp.maximum(self.warmup * steps, 1.0))
        down = jnp.clip((share - self.warmup) / jnp.maximum(1 - self.warmup, 1e-6), 0, 1)
        cosine = self.final_rate + (1 - self.final_rate) * 0.5 * (1 + jnp.cos(jnp.pi * down))
        return self.learning_rate * up * (cosine if self.schedule == "cosine" else 1.0)

    def optimiser(self, dtype: Any) -> optax.GradientTransformation:
        """Clipping and Adam with weight decay, for a rate of 1 and parameters of this type."""
        clip, weight_decay, *moments = (jnp.asarray(x, dtype) for x in (self.clip, self.weight_decay, self.b1, self.b2, self.eps))
        decay, adam = optax.add_decayed_weights(weight_decay), optax.scale_by_adam(*moments)
        rest = (adam, decay) if self.decay == "decoupled" else (decay, adam)
        return optax.chain(optax.clip_by_global_norm(clip), *rest)

    def train(
        self,
        key: Array,
        params: Any,
        train: Slots,
        loss: Callable[[Any, Array, Array], Array],
        validation: Callable[[Any], Array],
        redraw: Callable[[Array, Array], Array] | None = None,
        slices: int = 1,
    ) -> tuple[Any, dict[str, Array]]:
        """`params` after the budget's steps on minibatches of `train`, and train_loss (mean of the last pass), steps.

        All NaN where a loss was not finite: whatever was best before, such a fit has failed.

        loss(params, batch [b, ...], key) and validation(params): means over samples; the latter is asked for with
        select="best" or patience alone. redraw(key, batch): what stands in for a batch of the training set.
        """
        count, b, slices = train.count, self.batch, self.accumulate or slices
        per_pass = jnp.maximum(1, -(-count // b))
        steps = self.budget.steps(count, b)
        every = jnp.maximum(1, steps // self.evaluations)
        looks = self.select == "best" or self.patience is not None

        if sharding.parts() == 1:  # one vector for all parameters: one kernel an update where a tree of them would take thirty
            start, tree = ravel_pytree(params)
        else:
            start, tree = sharding.split(params), lambda params: params
        adam = self.optimiser(jax.tree.leaves(start)[0].dtype)

        def slope_of(flat: Any, samples: Array, noise: Array) -> tuple[Array, Any]:
            def some(part: Array, noise: Array) -> tuple[Array, Any]:
                value, slope = jax.value_and_grad(lambda flat: loss(tree(flat), sharding.rows(part), noise))(flat)
                return value, sharding.split(slope)

            if slices == 1:
                return some(samples, noise)

            def add(total: Any, item: Any) -> tuple[Any, None]:
                i, part = item
                return jax.tree.map(jnp.add, total, some(part, jax.random.fold_in(noise, i))), None

            parts = samples.reshape(slices, b // slices, *samples.shape[1:])
            none = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, flat))
            total = jax.lax.scan(add, none, (jnp.arange(slices), parts))[0]
            return jax.tree.map(lambda x: x / slices, total)

        def step(carry: Any) -> Any:
            i, flat, state, order, total, best, found, stalled, sound = carry
            order = jax.lax.cond(i % per_pass == 0, lambda: passed(jax.random.fold_in(key, i // per_pass), train), lambda: order)
            noise = jax.random.fold_in(key, i + 2**30)
            samples = train.samples[order[((i % per_pass) * b + jnp.arange(b)) % count]]
            if redraw is not None:
                samples = redraw(jax.random.fold_in(noise, 2**30), samples)
            value, slope = slope_of(flat, samples, noise)
            update, state = adam.update(slope, state, flat)
            rate = self.rate(i, steps)
            flat = jax.tree.map(lambda x, change: x - (rate * change).astype(x.dtype), flat, update)
            flat, state = sharding.split((flat, state))
            begun = i % per_pass == 0 if self.patience is not None else i == jnp.maximum(0, steps - per_pass)
            total = jnp.where(begun, 0.0, total) + value.astype(total.dtype)
            if looks:
                look = ((i + 1) % every == 0) | (i + 1 == steps)
                looked = lambda flat: validation(tree(flat)).astype(jnp.float32)
                score = jax.lax.cond(sharding.anywhere(look), looked, lambda flat: worst, flat)
                better = look & (score < best)
                best = jnp.where(better, score, best)
                found = chosen(better, flat, found) if self.select == "best" else None
                stalled = jnp.where(better, 0, stalled + look)
            return i + 1, flat, state, order, total, best, found, stalled, sound & jnp.isfinite(value)

        worst = jnp.float32(jnp.inf)

        def goes_on(carry: Any) -> Array:
            waiting = True if self.patience is None else carry[-2] < self.patience
            return (carry[0] < steps) & waiting

        first: Any = start if self.select == "best" else None
        order, zero = jnp.zeros(train.weight.shape, jnp.int32), jnp.int32(0)
        begin = (zero, start, adam.init(start), order, jnp.float32(0), worst, first, zero, jnp.bool_(True))
        done, flat, _, _, total, best, found, _, sound = sharding.while_loop(goes_on, step, begin)
        last = (done - 1) % per_pass + 1 if self.patience is not None else jnp.minimum(per_pass, steps)
        info = {"train_loss": total / last, "steps": done}
        if looks:
            info["validation_loss"] = best
        return tree(chosen(sound, found if self.select == "best" else flat, jax.tree.map(lambda x: jnp.nan, flat))), info


def chosen(condition: Array, one: Any, other: Any) -> Any:
    """`jnp.where` over trees."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def passed(key: Array, train: Slots) -> Array:
    """The slots of one pass in order, the first `train.count` of them: int32 [slots].

    Every filled slot once where weights are equal; else each as often as its share of the weight says, rounded up or down by
    chance (systematic resampling), so that the mean over passes is the weighted mean.
    """
    weight, n = train.weight, len(train.weight)
    filled, count = weight > 0, train.count
    order = jnp.argsort(jnp.where(filled, jax.random.uniform(key, weight.shape), 2.0)).astype(jnp.int32)

    def weighted() -> Array:
        first, second = jax.random.split(jax.random.fold_in(key, 0))
        reached = jnp.cumsum(weight[order] * (count / jnp.sum(weight)))
        place = jnp.searchsorted(reached, jnp.arange(n) + jax.random.uniform(first), side="right")
        chosen = order[jnp.minimum(place, count - 1)]
        again = jnp.where(jnp.arange(n) < count, jax.random.uniform(second, (n,)), 2.0)
        return chosen[jnp.argsort(again)]

    equal = jnp.all(~filled | (weight == jnp.max(weight)))
    return jax.lax.cond(equal, lambda: order, weighted)
