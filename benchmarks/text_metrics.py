"""Self-BLEU (sampled), distinct-n and rep-n of one million tokens, in one program: python benchmarks/text_metrics.py

One line of JSON: the median of five runs, all of them together and one by one, Self-BLEU of all sequences too; compilation apart.
"""

import json
import os
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.bleu import SAMPLED, self_bleu
from collapse_jax.metrics.ngrams import BUDGET  # noqa: F401  (registers the columns)
from collapse_jax.metrics.registry import of_kind

ROWS, LENGTH, TYPES, TURNS = 15_625, 64, 8192, 5
NAMES = ["self_bleu", *(f"distinct_{n}" for n in (1, 2, 3)), *(f"rep_{n}" for n in (2, 3, 4))]


def seconds(program: Callable, *arguments: jax.Array) -> tuple[float, float]:
    """The median of runs, and of the first one what is more: compilation."""
    runs = []
    for _ in range(TURNS + 1):
        start = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        runs.append(time.perf_counter() - start)
    run = statistics.median(runs[1:])
    return run, runs[0] - run


def main() -> None:
    share = 1 / np.arange(1, TYPES + 1)
    tokens = jnp.asarray(np.random.default_rng(0).choice(TYPES, (ROWS, LENGTH), p=share / share.sum()).astype(np.int32))
    weight, key = jnp.ones(ROWS), jax.random.key(0)
    columns = lambda names: jax.jit(lambda x, w, key: {name: of_kind("tokens")[name](x, w, x, key) for name in names})
    together, compiled = seconds(columns(NAMES), tokens, weight, key)
    alone = {name: round(seconds(columns([name]), tokens, weight, key)[0], 4) for name in NAMES}
    alone["self_bleu of all"] = round(seconds(jax.jit(lambda x, w, key: self_bleu(x, w, key, ROWS)), tokens, weight, key)[0], 4)
    sizes = {"tokens": tokens.size, "sampled": SAMPLED, "cores": len(os.sched_getaffinity(0))}
    print(
        json.dumps({"case": "text_metrics", "s": round(together, 3), "compile s": round(compiled, 2), **sizes, "alone s": alone})
    )


if __name__ == "__main__":
    main()
