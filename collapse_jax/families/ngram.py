"""n-gram language models: counts of every context as parameters, for text and for Zipf–Mandelbrot languages."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import draws
from collapse_jax.checks import whole
from collapse_jax.data import Slots
from collapse_jax.decoding import NEVER, Ancestral, cut
from collapse_jax.errors import ConfigError
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.discrete import running
from collapse_jax.families.smoothing import AddK, JelinekMercer, WittenBell
from collapse_jax.metrics.points import held_out
from collapse_jax.metrics.text import perplexities, text_metrics
from collapse_jax.struct import replace, static, struct

Array = jax.Array
MOST = 2**24  # entries of the table of counts


@struct
class NGram(Family):
    """p(token | the order - 1 tokens before) from weighted counts; samples are blocks of tokens int32 [n, block].

    order: at least 1; vocabulary: number of tokens; smoothing: `AddK(k)`, `JelinekMercer(weights)` or `WittenBell()`; block:
    tokens of a block (None: the source's). Before a block's first token stands a start symbol of its own, repeated as often
    as the context needs. Parameters: counts [contexts, vocabulary], a context being a number in base vocabulary + 1.
    """

    order: int = static(default=2)
    vocabulary: int = static(default=256)
    smoothing: Any = AddK(0.0)
    block: int | None = static(default=None)

    def settled(self, experiment: Any) -> "NGram":
        return replace(self, block=getattr(experiment.source, "block", None)) if self.block is None else self

    def validate(self, experiment: Any) -> None:
        whole("family.order", self.order, 1, 24)
        whole("family.vocabulary", self.vocabulary, 2)
        if self.entries > MOST:
            allowed = f"an order and a vocabulary whose table has at most 2^24 entries; this one has {self.entries}"
            raise ConfigError("family.order", self.order, allowed)
        for name in ("vocabulary", "block"):
            theirs = getattr(experiment.source, name, None)
            if theirs is None or theirs != getattr(self, name):
                raise ConfigError(f"family.{name}", getattr(self, name), f"the source's {name} ({theirs or 'none'})")
        if not isinstance(self.smoothing, AddK | JelinekMercer | WittenBell):
            raise ConfigError("family.smoothing", repr(self.smoothing), "AddK(k), JelinekMercer(weights) or WittenBell()")
        self.smoothing.validate(self.order)
        if experiment.decoding is not None:
            if not isinstance(experiment.decoding, Ancestral):
                raise ConfigError("decoding", repr(experiment.decoding), "None or Ancestral for an n-gram model")
            experiment.decoding.validate(self.vocabulary)
            if experiment.decoding.repetition_penalty is not None:
                raise ConfigError("decoding.repetition_penalty", experiment.decoding.repetition_penalty, "1 for an n-gram model")

    @property
    def contexts(self) -> int:
        """How many contexts there are."""
        return (self.vocabulary + 1) ** (self.order - 1)

    @property
    def entries(self) -> int:
        """Entries of the table of counts."""
        return self.contexts * self.vocabulary

    def chunk(self, samples: int, platform: str) -> int:
        return 1 if platform == "cpu" else 64

    def init(self, key: Array, shared: Shared) -> Array:
        return jnp.zeros((self.contexts, self.vocabulary))

    def before(self, tokens: Array) -> Array:
        """The context of every token of tokens [n, length]: int32 [n, length]."""
        base, number = self.vocabulary + 1, jnp.zeros_like(tokens)
        for back in range(self.order - 1, 0, -1):
            earlier = jnp.full_like(tokens, self.vocabulary)
            if back < tokens.shape[1]:
                earlier = jnp.concatenate([earlier[:, :back], tokens[:, :-back]], axis=1)
            number = number * base + earlier
        return number

    def failed(self, params: Array) -> Array:
        """Counts that are no numbers, or none at all."""
        return ~(jnp.sum(params) > 0)

    def fit(self, key: Array, params: Array, train: Slots, shared: Shared) -> tuple[Array, dict[str, Array]]:
        tokens = train.samples.astype(jnp.int32)
        weight = jnp.broadcast_to(train.weight[:, None], tokens.shape)
        return jnp.zeros_like(params).at[self.before(tokens), tokens].add(weight), {}

    def tables(self, params: Array) -> list[Array]:
        """Counts of orders 1 … order, each summed over what stands before the shorter context."""
        found = [params]
        for order in range(self.order - 1, 0, -1):
            rows = (self.vocabulary + 1) ** (order - 1)
            found.append(jnp.sum(found[-1].reshape(-1, rows, self.vocabulary), axis=0))
        return found[::-1]

    def conditional(self, params: Array) -> Array:
        """p(token | context): [contexts, vocabulary]."""
        return self.smoothing.probabilities(self.tables(params))

    def sample(self, key: Array, params: Array, n: int, decoding: Any = None, prompts: Array | None = None) -> Array:
        """n blocks int32 [n, block]; with prompts [n, p] they begin with these."""
        p = self.conditional(params)
        if isinstance(decoding, Ancestral):
            logits = jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1.0)), NEVER)
            logits = (logits - jnp.max(logits, axis=1, keepdims=True)) / decoding.temperature
            p = jax.nn.softmax(cut(logits, decoding.top_k, decoding.top_p), axis=1)
        cumulative = running(p).reshape(-1)
        v, base = self.vocabulary, self.vocabulary + 1
        bits = jax.random.bits(key, (n, self.block or 1))
        given = 0 if prompts is None else prompts.shape[1]
        forced = jnp.zeros((n, self.block or 1), jnp.int32)
        forced = forced if prompts is None else forced.at[:, :given].set(prompts)

        def step(context: Array, item: Any) -> tuple[Array, Array]:
            place, some, must = item
            target = draws.scaled_down(some, cumulative[context * v + v - 1])
            token = jnp.where(place < given, must, search(cumulative, context * v, target, v))
            return (context * base + token) % self.contexts, token

        # The start symbol is the digit `vocabulary`: a context of nothing but it is the highest number.
        start = jnp.full(n, self.contexts - 1, jnp.int32)
        return jax.lax.scan(step, start, (jnp.arange(self.block), bits.T, forced.T))[1].T

    def measure(self, key: Array, params: Array, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """perplexity on real test blocks, support (different n-grams of its order), and metrics.text of generated blocks."""
        assert samples is not None
        test = held_out(shared).astype(jnp.int32)
        found = perplexities(-self.log_prob(params, test, shared), test.shape[1])
        found["support"] = jnp.sum(params > 0).astype(jnp.float32)
        return found | text_metrics(samples.samples, shared)

    def log_prob(self, params: Array, samples: Array, shared: Shared) -> Array:
        """Log-probability of blocks [n, length]: [n], nats; -inf where a token has no probability."""
        tokens = samples.astype(jnp.int32)
        return jnp.sum(jnp.log(self.conditional(params)[self.before(tokens), tokens]), axis=1)


def search(ascending: Array, start: Array, target: Array, length: int) -> Array:
    """In every row [start, start + length) of `ascending`, the first place above target (the last one if none): int32 [n]."""
    low, high = jnp.zeros_like(start), jnp.full_like(start, length - 1)
    for _ in range(int(np.ceil(np.log2(length)))):
        middle = (low + high) // 2
        above = ascending[start + middle] > target
        low, high = jnp.where(above, low, middle + 1), jnp.where(above, middle, high)
    return low
