"""Sampling rules: how the next token is drawn from a model's logits, and the sampling bias of closed-form families.

Rules for tokens are composed of processors of logits, in the order of transformers: repetition penalty, temperature, top-k, top-p,
min-p. `end` is a token behind which a sequence holds nothing but that token (None: sequences always have full length).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import choice, number, whole
from collapse_jax.struct import replace, static, struct

Array = jax.Array
NEVER = -1e30  # a logit of a token that must not be drawn
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@struct
class Ancestral:
    """Draw from the model's own distribution, sharpened or cut.

    temperature: above 0; top_k: keep the k likeliest tokens; top_p: keep the fewest that hold this share, in (0, 1];
    min_p: keep those at least this share as likely as the likeliest, in [0, 1]; repetition_penalty: divide positive (multiply
    negative) logits of tokens already in the sequence, prompt included (Keskar et al. 2019).
    """

    temperature: Any = 1.0
    top_k: int | None = static(default=None)
    top_p: Any = None
    repetition_penalty: Any = 1.0
    min_p: Any = None
    end: int | None = static(default=None)

    def validate(self, vocabulary: int) -> None:
        """Raise ConfigError where a field cannot be used with this vocabulary."""
        number("decoding.temperature", self.temperature, SMALLEST, LARGEST)
        check_sequence(self, vocabulary)
        if self.top_k is not None:
            whole("decoding.top_k", self.top_k, 1, vocabulary, ", the vocabulary")
        if self.top_p is not None:
            number("decoding.top_p", self.top_p, 0, 1, above=True)
        if self.min_p is not None:
            number("decoding.min_p", self.min_p, 0, 1)

    def settled(self) -> "Ancestral":
        """See `without_idle_penalty`."""
        return without_idle_penalty(self)

    def processed(self, logits: Array, seen: Array | None = None) -> Array:
        """Logits [batch, vocabulary] as tokens are drawn from them, less the largest of each row; seen [batch, vocabulary]: tokens that were."""
        if seen is not None and self.repetition_penalty is not None:
            logits = penalise(logits, seen, self.repetition_penalty)
        return cut(scaled(logits, self.temperature, 1), self.top_k, self.top_p, self.min_p)

    def choose(self, key: Array, logits: Array, seen: Array | None = None) -> Array:
        """A token for every row of logits [batch, vocabulary]: int32 [batch]."""
        whole = seen is None and self.top_k is None and self.top_p is None and self.min_p is None
        columns = scaled(logits.T, self.temperature, 0) if whole else self.processed(logits, seen).T
        return inverse_cdf(columns, jax.random.uniform(key, logits.shape[:1]))


@struct
class Greedy:
    """Always the likeliest token (the lowest of equals)."""

    repetition_penalty: Any = 1.0
    end: int | None = static(default=None)

    def validate(self, vocabulary: int) -> None:
        """Raise ConfigError where a field cannot be used with this vocabulary."""
        check_sequence(self, vocabulary)

    def settled(self) -> "Greedy":
        """See `without_idle_penalty`."""
        return without_idle_penalty(self)

    def choose(self, key: Array, logits: Array, seen: Array | None = None) -> Array:
        if seen is not None and self.repetition_penalty is not None:
            logits = penalise(logits, seen, self.repetition_penalty)
        return likeliest(logits)


@struct
class Beam:
    """Beam search: the best of the `width` best sequences kept at every step, by its log-probability / length^length_penalty.

    length_penalty (from -10 to 10) and early_stopping (True, False or "never") matter with an `end` token alone; both are as in
    transformers, but that scores below its -1e9 (a length_penalty of -10, say) are still scores here.
    repetition_penalty is applied to log-probabilities, as there (but that Beam(1) is this too, where num_beams=1 is greedy, on logits).
    """

    width: int = static(default=5)
    length_penalty: Any = 1.0
    early_stopping: Any = static(default=False)
    repetition_penalty: Any = 1.0
    end: int | None = static(default=None)

    def validate(self, vocabulary: int) -> None:
        """Raise ConfigError unless 1 <= width <= vocabulary (half of it with an end token), and the other fields are in range."""
        most = vocabulary if self.end is None else vocabulary // 2
        whole("decoding.width", self.width, 1, most, ", the vocabulary" if self.end is None else ", half the vocabulary")
        number("decoding.length_penalty", self.length_penalty, -10, 10)
        choice("decoding.early_stopping", self.early_stopping, (True, False, "never"))
        check_sequence(self, vocabulary)

    def settled(self) -> "Beam":
        """See `without_idle_penalty`."""
        return without_idle_penalty(self)


@struct
class SamplingBias:
    """MAD's sampling bias λ in (0, 1]: samples nearer to the mode, for a Gaussian N(μ, λ Σ) (arXiv 2307.01850)."""

    lam: Any = 1.0

    def validate(self, vocabulary: int = 0) -> None:
        """Raise ConfigError unless λ lies in (0, 1]."""
        number("decoding.lam", self.lam, 0, 1, above=True)


def check_sequence(rule: Any, vocabulary: int) -> None:
    """Raise ConfigError where a rule's penalty or end token cannot be used with this vocabulary."""
    if rule.repetition_penalty is not None:
        number("decoding.repetition_penalty", rule.repetition_penalty, 1e-30, 1e30)
    if rule.end is not None:
        whole("decoding.end", rule.end, 0, vocabulary - 1, ", the vocabulary's tokens")


def without_idle_penalty(rule: Any) -> Any:
    """The same rule with a penalty of 1 as None: then no table of seen tokens is kept."""
    off = rule.repetition_penalty is None or bool(np.all(np.asarray(rule.repetition_penalty) == 1))
    return replace(rule, repetition_penalty=None) if off else rule


def penalise(logits: Array, seen: Array, penalty: Array | float) -> Array:
    """Logits with those of tokens in `seen` [batch, vocabulary] divided by the penalty where positive, multiplied where not."""
    return jnp.where(seen, jnp.where(logits > 0, logits / penalty, logits * penalty), logits)


def cut(logits: Array, top_k: int | None, top_p: Array | float | None, min_p: Array | float | None = None) -> Array:
    """Logits with all but the k likeliest, then all but the nucleus of mass p, then what is too far from the likeliest, made impossible.

    Ties at the k-th place and at the nucleus's edge are all kept (transformers keeps some of the latter); the nucleus is the fewest
    likeliest tokens whose mass reaches p (Holtzman et al. 2020); min_p keeps tokens of at least that share of the likeliest one's
    probability (Nguyen et al. 2024).
    """
    if top_k is not None and top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits >= least, logits, NEVER)
    if top_p is not None:
        ordered = -jnp.sort(-logits, axis=-1)
        mass = jnp.cumsum(jax.nn.softmax(ordered, axis=-1), axis=-1)
        whole = jnp.asarray(top_p) >= 1  # then nothing is cut: rounding lets the mass reach 1 before its end
        last = jnp.where(whole, logits.shape[-1], jnp.sum(mass < top_p, axis=-1, keepdims=True))
        least = jnp.take_along_axis(ordered, jnp.minimum(last, logits.shape[-1] - 1), axis=-1)
        logits = jnp.where(logits >= least, logits, NEVER)
    if min_p is not None:
        far = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(jnp.asarray(min_p))
        logits = jnp.where(logits >= far, logits, NEVER)
    return logits


def scaled(logits: Array, temperature: Any, axis: int) -> Array:
    """Differences of logits to the largest along an axis over the temperature: none is too low; at 1e-30 this is the argmax."""
    return (logits - jnp.max(logits, axis=axis, keepdims=True)) / temperature


def likeliest(logits: Array) -> Array:
    """The lowest of the likeliest tokens of logits [batch, V]: int32 [batch]; in two levels, which CPUs are faster at."""
    batch, v = logits.shape
    side = side_of(v)
    if v % side:
        return jnp.argmax(logits, axis=1).astype(jnp.int32)
    blocks = logits.T.reshape(-1, side, batch)
    block = jnp.argmax(jnp.max(blocks, axis=1), axis=0)
    return (block * side + jnp.argmax(at(blocks, block), axis=0)).astype(jnp.int32)


def at(x: Array, i: Array) -> Array:
    """x [n, ..., batch] at i [batch] of the first axis: [..., batch]."""
    return jnp.take_along_axis(x, i.reshape(*[1] * (x.ndim - 1), -1), axis=0)[0]


def side_of(v: int) -> int:
    """Tokens in a slice of a vocabulary of v: near √v, and if possible a divisor of v, so that nothing is padded."""
    root = int(np.ceil(np.sqrt(v)))
    near = [side for side in range(max(1, root // 8), 8 * root) if v % side == 0]
    return min(near, key=lambda side: abs(np.log(side / root)), default=root)


def inverse_cdf(logits: Array, uniform: Array) -> Array:
    """The token at which the running sum of exp(logits) [V, batch] passes uniform [batch] of the total: int32 [batch].

    Gumbel noise would need a random number for every token. The running sum goes in two levels of about √V: two short scans in place
    of one long one, and only one slice of the exponentials is kept. Sequences are columns: of a few rows of hidden states CPUs make
    these logits in less time, and sum them in whole vectors. A token of weight 0 is never drawn.
    """
    v, batch = logits.shape
    side = side_of(v)
    slices = -(-v // side)
    padded = logits if slices * side == v else jnp.pad(logits, ((0, slices * side - v), (0, 0)), constant_values=-jnp.inf)
    blocks = padded.reshape(slices, side, batch)
    sums = jnp.sum(jnp.exp(blocks), axis=1)
    coarse = jnp.cumsum(sums, axis=0)
    target = uniform * coarse[-1]
    block = jnp.minimum(jnp.sum(coarse <= target, axis=0), last_above_0(sums))
    before = jnp.where(block > 0, at(coarse, jnp.maximum(block - 1, 0)), 0.0)
    row = jnp.exp(at(blocks, block))
    place = jnp.minimum(jnp.sum(jnp.cumsum(row, axis=0) <= target - before, axis=0), last_above_0(row))
    return (block * side + place).astype(jnp.int32)


def last_above_0(x: Array) -> Array:
    """The last place of every column of x [n, batch] that is above 0: [batch]; 0 where none is."""
    return jnp.max(jnp.where(x > 0, jnp.arange(len(x))[:, None], 0), axis=0)
