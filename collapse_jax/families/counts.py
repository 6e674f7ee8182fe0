"""Sufficient statistics of discrete samples: how often each state occurred, and their draw in exact law."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from collapse_jax.families.bits import threefry
from collapse_jax.struct import struct

Array = jax.Array
State = tuple[Array, Array, Array, Array, Array]
FEW = 10.0  # expected successes below which a binomial is drawn by inversion (the rejection needs more)
TERMS = 32  # of that inversion: more than so many successes have probability below 2e-8, under the step of a float32 uniform
COLUMNS = 32  # that samples are dealt to one after the other


@struct
class Counts:
    """Weighted counts of every state: [states]."""

    counts: Array

    @property
    def count(self) -> Array:
        return jnp.sum(self.counts)

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> "Counts":
        """The counts of the union, every part's samples weighted anew."""
        return Counts(sum(w * part.counts for part, w in zip(parts, weights, strict=True)))

    def append(self, new: "Counts") -> "Counts":
        """The counts of the union with `new`."""
        return Counts(self.counts + new.counts)


def multinomial(key: Array, count: Array, p: Array) -> Array:
    """How `count` (< 2^24) samples fall on states with probabilities p [K] (sum to 1): float32 [K], exact in law.

    The samples are dealt to groups of states, then within all groups at once to smaller ones, in tables of at most `COLUMNS`
    columns: the cost does not depend on `count`. A state of probability 0 gets none.
    """
    states, levels = p.shape[0], 1
    while COLUMNS**levels < states:
        levels += 1
    columns = math.ceil(states ** (1 / levels) - 1e-9)
    tables = [jnp.pad(p, (0, columns**levels - states)).reshape(-1, columns)]
    while len(tables) < levels:
        tables.append(jnp.sum(tables[-1], axis=1).reshape(-1, columns))
    held = jnp.asarray(count, jnp.float32).reshape(1)
    for level, table in enumerate(reversed(tables)):
        held = deal(jax.random.fold_in(key, level), held, table).reshape(-1)
    return held[:states]


def split(key: Array, n: Array, left: Array, right: Array) -> Array:
    """Binomial: how many of n [rows] samples fall left when left and right have these masses; whole float32 [rows]."""
    return deal(key, n, jnp.stack([left, right], axis=1))[:, 0]


def deal(key: Array, held: Array, mass: Array) -> Array:
    """Each row's `held` [rows] samples dealt to its columns in proportion to mass [rows, columns]: whole float32."""
    words = jax.random.bits(key, (2,), jnp.uint32)
    row = jnp.arange(held.shape[0], dtype=jnp.uint32)
    return dealt(*jnp.broadcast_to(words[:, None], (2, held.shape[0])), row, held, mass)


@custom_vmap
def dealt(first: Array, second: Array, row: Array, held: Array, mass: Array) -> Array:
    """`deal` for rows that each have the two words of a key.

    Every row goes from column to column at its own pace, one proposal of a binomial at a time, so that no row waits for
    another's refusals. The sum of the later columns is asked for beside each column, so that no probability is rounded away.
    """
    rows, columns = mass.shape
    here = jnp.where(mass < jnp.inf, mass, 0.0).T  # long rows of numbers: short ones are not vectorised; NaN would never end
    rest = jnp.flip(jnp.cumsum(jnp.flip(here, axis=0), axis=0), axis=0)
    rest = jnp.concatenate([rest[1:], jnp.zeros((1, rows), mass.dtype)])
    # The share of the rarer side, negative where that is the later columns'.
    share = jnp.minimum(here, rest) / jnp.where(here > 0, here + rest, 1.0) * jnp.where(here <= rest, 1.0, -1.0)
    place, lane = jnp.arange(columns, dtype=jnp.int32)[:, None], jnp.arange(rows, dtype=jnp.int32)
    # Columns without mass are passed over; the last one with any takes what is left.
    last = jnp.max(jnp.where(here > 0, place, 0), axis=0)
    following = jnp.minimum(jax.lax.cummin(jnp.where(here > 0, place, columns), axis=0, reverse=True), last)

    def step(state: State) -> State:
        # A proposal is looked at in the step after its own: so it is stored, where the compiler would make it anew for each use.
        i, column, held, out, proposed = state
        taken = (proposed >= 0) & (column < last)
        out = jnp.where(taken & (place == column), proposed, out)
        held = jnp.where(taken, held - proposed, held)
        column = jnp.where(taken, at(following, jnp.minimum(column + 1, columns - 1) * rows + lane), column)
        side = at(share, column * rows + lane)
        successes = proposal(threefry(first, second, jnp.full(rows, i), row), held, jnp.abs(side))
        return i + 1, column, held, out, jnp.where((side >= 0) | (successes < 0), successes, held - successes)

    start = (jnp.uint32(0), following[0], held, jnp.zeros_like(here), jnp.full(rows, -1.0, held.dtype))
    _, _, held, out, _ = jax.lax.while_loop(lambda state: jnp.any(state[1] < last), step, start)
    return jnp.where(place == last, held, out).T


def at(table: Array, index: Array) -> Array:
    """Entries of the flattened table, none of the indices beyond its ends."""
    return table.reshape(-1).at[index].get(mode="promise_in_bounds")


@dealt.def_vmap
def dealt_together(size: int, batched: list[bool], *arguments: Array) -> tuple[Array, bool]:
    """Many chains' rows as one long list of rows, and so one loop."""
    wide = [x if is_wide else jnp.broadcast_to(x, (size, *x.shape)) for x, is_wide in zip(arguments, batched, strict=True)]
    out = dealt(*(x.reshape(-1, *x.shape[2:]) for x in wide))
    return out.reshape(wide[-1].shape), True


def proposal(bits: tuple[Array, Array], n: Array, p: Array) -> Array:
    """Binomial(n, p), p <= 1/2, from two words each; -1 where refused.

    Inversion for few expected successes, which refuses none, else Hörmann's transformed rejection (BTRS, J. Stat. Comput.
    Simul. 46:101, 1993), which refuses about one in seven.
    """
    u, v = (((word >> 9).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-23) for word in bits)
    few = n * p < FEW
    rare = inverted(u, n, jnp.where(few, p, 0.0))
    return jnp.where(few, rare, rejected(u, v, jnp.where(few, 4 * FEW, n), jnp.where(few, 0.5, p)))


def inverted(u: Array, n: Array, p: Array) -> Array:
    """Binomial(n, p), p <= 1/2 and n p < FEW: how many cumulative probabilities the uniform u has passed."""
    odds = p / (1 - p)
    chance = jnp.exp(n * log1p(-p))
    total, k = chance, jnp.zeros_like(n)
    for j in range(TERMS):
        k = k + jnp.where(u >= total, 1.0, 0.0)
        chance = chance * ((n - j) * (odds / (j + 1)))
        total = total + chance
    return jnp.minimum(k, n)  # rounding may leave a uniform unreached


def rejected(u: Array, v: Array, n: Array, p: Array) -> Array:
    """Binomial(n, p), p <= 1/2 and n p >= FEW, by one proposal of BTRS; -1 where it is refused.

    Its logarithms are taken as differences from the mode, where float32 is enough up to n = 2^24.
    """
    sd = jnp.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * sd
    per_b = 1 / b  # divisions are what this costs: each is made once
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha = (2.83 + 5.1 * per_b) * sd
    squeeze = 0.92 - 4.2 * per_b
    u = u - 0.5
    edge = 0.5 - jnp.abs(u)
    per_edge = 1 / edge
    k = jnp.floor((2 * a * per_edge + b) * u + n * p + 0.5)
    inside = (k >= 0) & (k <= n)
    k = jnp.clip(k, 0, n)
    mode = jnp.floor((n + 1) * p)
    rest, delta = n - mode + 1, k - mode
    per_mode, per_rest = 1 / (mode + 1), 1 / rest
    ratio = stirling(per_mode) + stirling(per_rest) - stirling(1 / (k + 1)) - stirling(1 / (n - k + 1))
    ratio += delta * jnp.log(p / (1 - p) * rest * per_mode)
    ratio -= (n - k + 0.5) * log1p(-delta * per_rest) + (k + 0.5) * log1p(delta * per_mode)
    good = ((edge >= 0.07) & (v <= squeeze)) | (jnp.log(v * alpha / (a * per_edge**2 + b)) <= ratio)
    return jnp.where(good & inside, k, -1.0)


def stirling(x: Array) -> Array:
    """What Stirling's formula leaves of log k!, x = 1 / (k + 1): to 3e-4 for k = 0, 3e-6 for 1 and float32 beyond 2."""
    return x * (1 / 12 - x * x * (1 / 360 - x * x / 1260))


def log1p(x: Array) -> Array:
    """log(1 + x) for x > -1, to a few float32 roundings: XLA's own is not vectorised on CPUs."""
    z = x / (2 + x)  # log(1 + x) = 2 artanh z
    s = z * z
    near = 2 * z * (1 + s * (1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9)))))
    return jnp.where(jnp.abs(x) < 0.25, near, jnp.log(1 + x))
