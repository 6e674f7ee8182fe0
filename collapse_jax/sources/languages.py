"""Zipf–Mandelbrot's law, over single states and as languages whose probabilities are known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import choice, number, whole
from collapse_jax.sources.analytic import DiscreteSource
from collapse_jax.sources.base import Shared, Source
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class ZipfMandelbrot(DiscreteSource):
    """p_i ∝ (i + b)^(-a) for i = 1 … states (Mandelbrot 1953); a >= 0, b > -1; samples int32 [n]."""

    a: Any = 1.0
    b: Any = 2.7
    states: int = static(default=1000)

    def validate(self) -> None:
        whole("source.states", self.states, 2)
        number("source.a", self.a, 0, 20)
        number("source.b", self.b, -1, 1e6, above=True)

    def probabilities(self) -> Array:
        weight = (jnp.arange(1, self.states + 1, dtype=jnp.float32) + self.b) ** -self.a
        return weight / jnp.sum(weight)


@struct
class ZipfLanguage(Source):
    """Blocks of tokens int32 [n, block] whose ranks follow Zipf–Mandelbrot's law.

    order 1: tokens are independent, token i of rank i + 1; order 2: a Markov chain in which each token is followed by the
    others in a ranking of its own, made from `seed`, and a block's first token is of the law itself. vocabulary: at most 2^20, and
    4,096 with order 2, whose rankings are a table of its square.
    """

    vocabulary: int = static(default=100)
    block: int = static(default=32)
    a: float = static(default=1.0)
    b: float = static(default=2.7)
    order: int = static(default=2)
    seed: int = static(default=0)

    kind = "tokens"

    def validate(self) -> None:
        choice("source.order", self.order, (1, 2))
        whole("source.vocabulary", self.vocabulary, 2, 2**20 if self.order == 1 else 4096, f" with order {self.order}")
        whole("source.block", self.block, 4, 2**16)
        whole("source.seed", self.seed, 0, 2**32 - 1)
        number("source.a", self.a, 0, 20)
        number("source.b", self.b, -1, 1e6, above=True)

    def law(self) -> np.ndarray:
        """The probability of every rank: float64 [vocabulary]."""
        weight = (np.arange(1, self.vocabulary + 1) + self.b) ** -float(self.a)
        return weight / weight.sum()

    def rankings(self) -> np.ndarray:
        """The token of every rank: one row for a block's start and, with order 2, one after each token: int32 [rows, vocabulary]."""
        rng, tokens = np.random.default_rng(self.seed), np.arange(self.vocabulary, dtype=np.int32)
        after = [rng.permutation(tokens) for _ in range(self.vocabulary)] if self.order == 2 else []
        return np.stack([*after, tokens])

    def conditional(self) -> np.ndarray:
        """p(next token | last token), the last row that of a block's first token: float64 [rows, vocabulary]."""
        rankings = self.rankings()
        table = np.zeros(rankings.shape)
        np.put_along_axis(table, rankings, np.broadcast_to(self.law(), rankings.shape), axis=1)
        return table

    def load(self, folder: Any) -> Shared:
        """The table of rankings, and the running sum of the law in units of 2^-32."""
        cumulative = np.minimum(np.rint(np.cumsum(self.law()) * 2.0**32), 2**32 - 1).astype(np.uint32)
        return {"rankings": self.rankings(), "cumulative": cumulative}

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n blocks; the first of them do not depend on n."""
        rankings, cumulative = jnp.asarray(shared["rankings"]), jnp.asarray(shared["cumulative"])
        bits = jax.random.bits(key, (n, self.block))
        ranks = jnp.minimum(jnp.searchsorted(cumulative, bits, side="right"), self.vocabulary - 1)
        if self.order == 1:
            return rankings[0][ranks].astype(jnp.int32)

        def follow(last: Array, rank: Array) -> tuple[Array, Array]:
            token = rankings[last, rank]
            return token, token

        start = jnp.full(n, self.vocabulary, jnp.int32)
        return jax.lax.scan(follow, start, ranks.T)[1].T.astype(jnp.int32)

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        """Exact log-probability of blocks [n, block]: [n], nats."""
        table = jnp.asarray(np.log(self.conditional()), jnp.float32)
        before = jnp.concatenate([jnp.full_like(samples[:, :1], len(table) - 1), samples[:, :-1]], axis=1)
        before = before if self.order == 2 else jnp.zeros_like(before)
        return jnp.sum(table[before, samples], axis=1)

    def entropy(self) -> float:
        """Entropy of a token given those before: nats, the same after any context."""
        p = self.law()
        return float(-np.sum(p * np.log(p)))
