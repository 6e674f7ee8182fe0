"""Token types of generated text: how often each occurs, and what is left of the rarest types of the real text.

Types are the tokens of the vocabulary, not words (`words`) nor n-grams (`ngrams`). Of frequencies it measures what `frequencies`
does of states, by the same functions. A sequence counts as often as its weight, a whole number, says; 0: it is not there.
The noise of all is on the reference page (docs/sample_metrics.md). `least` is 16 sequences, with which each is moved by at least
3 standard deviations that it has at that size where the types that hold the rarest tenth of Zipf's law are lost; the exponents,
which that leaves as they are, where they rise from 1 to 1.1.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.frequencies import chao1, missing_mass, zipf_mle, zipf_slope
from collapse_jax.metrics.registry import parts
from collapse_jax.metrics.tails import support, tail, tail_coverage, tail_mass

Array = jax.Array
SHARES = (0.01, 0.05, 0.1)  # of the real text's tokens, that its rarest types hold at most
DRAWN = 2**20  # tokens of a source without a training text, by which its types are ranked


def type_counts(tokens: Array, weight: Array, vocabulary: int) -> Array:
    """How often each of `vocabulary` types occurs in tokens [N, L] with weights [N]: float [vocabulary]; tokens beyond are left out."""
    each = jnp.broadcast_to(jnp.where(weight > 0, weight, 0.0)[:, None], tokens.shape)
    return jnp.zeros(vocabulary).at[tokens].add(each, mode="drop")


def tail_types(text: Any, vocabulary: int, shares: tuple[float, ...] = SHARES) -> np.ndarray:
    """The rarest types of a real text int [n, L] that together hold at most each share of its tokens: bool [shares, vocabulary].

    By the text's own counts, found on the host; types that it does not have are in no tail. Types as often as the first that no
    longer fits are outside together (`tails.tail`): where those that occur once already hold more than the share, nothing is in it.
    """
    count = np.bincount(np.asarray(text).reshape(-1), minlength=vocabulary)[:vocabulary]
    p0 = jnp.asarray(count / max(count.sum(), 1), jnp.float32)
    return np.stack([np.asarray(tail(p0, share) & (p0 > 0)) for share in shares])


def real_text(source: Any, shared: dict[str, Any]) -> np.ndarray:
    """The whole training text of a source of tokens, [n, L]; where it has none, about a million tokens that it draws."""
    if "train" in shared:
        return np.asarray(source.as_samples(shared["train"]))
    block = jax.eval_shape(lambda: source.draw(jax.random.key(0), 1, shared)).shape[1]
    n = min(max(DRAWN // block, 1), source.limit_of(shared) or DRAWN)
    return np.asarray(source.draw(jax.random.key(0), n, shared))


def frequencies(tokens: Array, weight: Array, vocabulary: int) -> dict[str, Array]:
    """missing_mass, chao1, zipf_mle, zipf_slope and token_support of the types in tokens [N, L] with whole weights [N].

    The first four as in `frequencies`; token_support: different types, from 0. With no sequence missing_mass is 1, the others 0.
    Of 512 sequences of 64 independent tokens, p ∝ 1/rank over 1,000 types: missing_mass .0003 ± .0001, chao1 1,000 ± 2,
    zipf_mle 1.003 ± .0025, zipf_slope 1.077 ± .0096, token_support 998 ± 1.4; of 16 of them chao1 is 739, zipf_mle .906.
    """
    count = type_counts(tokens, weight, vocabulary)
    by = {"missing_mass": missing_mass, "chao1": chao1, "zipf_mle": zipf_mle, "zipf_slope": zipf_slope, "token_support": support}
    return {name: function(count) for name, function in by.items()}


def tails(tokens: Array, weight: Array, rare: Array, shares: tuple[float, ...] = SHARES) -> dict[str, Array]:
    """tail_mass_1, tail_coverage_1, … _5, … _10 of tokens [N, L] with weights [N], over the tails `rare` (`tail_types`) of these shares.

    tail_mass: share of all tokens that are of a tail's types; at the source its mean is these types' probability, about the tail's
    share, a little more where counts of a short real text chose the types. tail_coverage: share of a tail's types that occur,
    which more tokens raise: compare equal sizes. Both in [0, 1]. No sequence: both 0; an empty tail: mass 0, coverage 1.
    """
    count = type_counts(tokens, weight, rare.shape[1])
    total = jnp.sum(jnp.where(weight > 0, weight, 0.0)) * tokens.shape[1]
    p = count / jnp.where(total > 0, total, 1.0)
    found: dict[str, Array] = {}
    for share, own in zip(shares, rare, strict=True):
        name = round(100 * share)
        found |= {f"tail_mass_{name}": tail_mass(p, own), f"tail_coverage_{name}": tail_coverage(p, own)}
    return found


@parts(
    "tokens",
    {
        "missing_mass": {
            "formula": "N1 / N, types seen once over tokens",
            "unit": "1",
            "span": "[0, 1]",
            "direction": "down",
            "source": "Good, Biometrika 40:237, 1953",
        },
        "chao1": {
            "formula": "S + f1² / 2 f2, or S + f1 (f1 - 1) / 2 where f2 = 0, of types",
            "unit": "types",
            "span": "[S, ∞)",
            "direction": "down",
            "source": "Chao, Scand. J. Statistics 11:265, 1984",
        },
        "zipf_mle": {
            "formula": "s of greatest likelihood, p(rank) ∝ rank^-s over the ranks of types seen",
            "unit": "1",
            "span": "[0, 16]",
            "direction": "either",
            "source": "Clauset, Shalizi & Newman, SIAM Review 51:661, 2009",
        },
        "zipf_slope": {
            "formula": "minus the least-squares slope of ln count on ln rank of types",
            "unit": "1",
            "span": "[0, ∞)",
            "direction": "either",
            "source": "Zipf 1949",
        },
        "token_support": {
            "formula": "different types among all tokens; depends on how many there are",
            "unit": "types",
            "span": "[1, V]",
            "direction": "down",
            "source": "support loss, Shumailov et al. 2024",
        },
    },
    cost="n L, and two sorts of V types",
    least=16,
    needs=("vocabulary",),
)
def of_types(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`frequencies` of generated text over the family's vocabulary."""
    return frequencies(x, weight, around["family"].vocabulary)


@parts(
    "tokens",
    {
        f"{name}_{round(100 * share)}": {"formula": text.format(round(100 * share)), "direction": direction}
        for share in SHARES
        for name, text, direction in (
            ("tail_mass", "share of tokens of the real training text's rarest types, that hold at most {} % of it", "either"),
            ("tail_coverage", "share of the real training text's rarest types, that hold at most {} % of it, that occur", "down"),
        )
    },
    unit="share",
    span="[0, 1]",
    cost="n L + V",
    least=16,
    source="Shumailov et al. 2024 (early collapse)",
    needs=("frequencies",),
)
def of_tail_types(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`tails` against the whole real training split, of which a chain may have had a part only."""
    return tails(x, weight, around["rare_types"])
