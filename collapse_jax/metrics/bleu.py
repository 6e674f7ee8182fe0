"""Self-BLEU: how alike generated sequences are, each scored against all others as its references."""

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import metric
from collapse_jax.metrics.text import grams, weighted_mean

Array = jax.Array
ORDER = 4  # BLEU-4
EPSILON = 0.1  # counted where an order has no match
SAMPLED = 256  # sequences that the column looks at


def clipped_matches(tokens: Array, n: int, there: Array) -> Array:
    """Σ over a sequence's n-grams g of min(its count of g, the largest count of g in any other sequence): int32 [N].

    tokens [N, L]; there: bool [N], sequences that are references; those that are not get 0. Two largest counts of every
    n-gram are enough for all sequences at once: O(N L log(N L)), however many references. Raises ValueError where L < n.
    """
    rows = tokens.shape[0]
    first, second = grams(tokens, n)
    row = jnp.broadcast_to(jnp.where(there, jnp.arange(rows), rows)[:, None], first.shape)
    a, b, row = jax.lax.sort(tuple(x.reshape(-1) for x in (first, second, row)), num_keys=3)
    size = a.shape[0]
    new_gram = jnp.concatenate([jnp.zeros(1, bool), (a[1:] != a[:-1]) | (b[1:] != b[:-1])])
    new_run = new_gram | jnp.concatenate([jnp.zeros(1, bool), row[1:] != row[:-1]])
    gram, run = jnp.cumsum(new_gram), jnp.cumsum(new_run)
    total = jax.ops.segment_sum(jnp.ones(size, jnp.int32), run, size, indices_are_sorted=True)[run]
    # One element stands for the run of one n-gram in one sequence: its first.
    leads = (row < rows) & new_run.at[0].set(True)
    count = jnp.where(leads, total, 0)
    most = jnp.maximum(jax.ops.segment_max(count, gram, size, indices_are_sorted=True), 0)[gram]
    holders = jax.ops.segment_sum(((count == most) & leads).astype(jnp.int32), gram, size, indices_are_sorted=True)[gram]
    below = jnp.where(count == most, 0, count)
    second_most = jnp.maximum(jax.ops.segment_max(below, gram, size, indices_are_sorted=True), 0)[gram]
    others = jnp.where((count == most) & (holders == 1), second_most, most)
    return jax.ops.segment_sum(jnp.minimum(count, others), row, rows + 1)[:rows]


def bleu_scores(tokens: Array, there: Array, order: int = ORDER) -> Array:
    """BLEU of every sequence of tokens [N, L] with all others as its references: [N], in [0, 1].

    exp(mean over n = 1..order of ln p_n), uniform weights; lengths are equal, so nothing is taken off for brevity (Papineni et
    al. 2002). An order without a match counts EPSILON matches (Chen & Cherry 2014, method 1); a sequence none of whose tokens
    occurs in another scores 0, as in NLTK's sentence_bleu. there: bool [N]; sequences that are not get 0, and so does one
    without a reference. Raises ValueError where L < order.
    """
    matches = [clipped_matches(tokens, n, there) for n in range(1, order + 1)]
    shares = [jnp.where(m > 0, m, EPSILON) / (tokens.shape[1] - n) for n, m in enumerate(matches)]
    return jnp.where(matches[0] > 0, jnp.exp(jnp.mean(jnp.log(jnp.stack(shares)), axis=0)), 0.0)


def self_bleu(tokens: Array, weight: Array, key: Array, sampled: int = SAMPLED, order: int = ORDER) -> Array:
    """Mean BLEU of sequences against each other (Zhu et al. 2018, Texygen), in [0, 1]: 1 where all are the same.

    Of tokens [N, L], `sampled` sequences with weight [N] above 0 are drawn without putting back, all where there are no more:
    it grows with their number, so equal numbers compare. Fewer than two: 0. Of 256 out of 512 sequences of 64 independent
    tokens, p ∝ 1/rank over 1,000 types: mean 0.119, standard deviation 0.005.
    Raises ValueError where L < order.
    """
    there = weight > 0
    if len(tokens) > sampled:
        chosen = jax.lax.top_k(jnp.where(there, jax.random.uniform(key, (len(tokens),)), -1.0), sampled)[1]
        tokens, there = tokens[chosen], there[chosen]
    return weighted_mean(bleu_scores(tokens, there, order), there.astype(jnp.float32))


metric(
    "self_bleu",
    "tokens",
    formula=f"mean BLEU-4 of each of {SAMPLED} sequences (all, where fewer) against the others; smoothing: 0.1 for no match",
    unit="share",
    span="[0, 1]",
    direction="up",
    cost="O(s L log(s L)), s at most 256",
    source="Zhu et al. 2018; Papineni et al. 2002; Chen & Cherry 2014 (method 1)",
    least=64,
)(lambda x, weight, y, key: self_bleu(x, weight, key))
