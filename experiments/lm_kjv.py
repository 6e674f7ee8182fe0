"""Transformers trained on the King James Bible and then on what they wrote: the demo's five arms, at any size.

Claim: replace ends worse than accumulate in held-out perplexity; real data each generation does not decay.
Command: collapse run experiments/lm_kjv.py --chains 4
Hardware and time: two cores of an AMD EPYC (Zen 4), 11 min 20 s; `collapse demo` runs a smaller one.
Seen (2026-11-26): mean perplexity of four chains, generations 0 … 5: replace 77 97 111 121 129 138; accumulate at the same budget 77 88 95 98 101
102; 10 % real 77 95 107 113 116 120; other real blocks each generation 77 76 77 76 77 75; replace with the filter 77 97 112 125 135 145.
"""

from typing import Literal

import collapse_jax as cj
from collapse_jax.cli import script


def main(
    samples: int = 1536,
    generations: int = 5,
    epochs: int = 6,
    layers: int = 2,
    width: int = 64,
    heads: int = 2,
    vocabulary: int = 1024,
    block: int = 64,
    learning_rate: float = 3e-3,
    temperature: float = 1.0,
    start: Literal["scratch", "previous", "base"] = "scratch",
    select: Literal["last", "best"] = "last",
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> list[cj.Experiment]:
    """Transformers trained on the King James Bible and then on what they wrote.

    Args:
        samples: Blocks of text per generation.
        generations: Synthetic generations.
        epochs: Passes over each training set.
        layers: Of the network.
        width: Of the network.
        heads: Attention heads.
        vocabulary: Of the byte-level BPE.
        block: Tokens per block.
        learning_rate: AdamW's peak.
        temperature: Of ancestral sampling.
        start: What each fit starts from (base: the newest model of the run that --base names).
        select: Parameters kept of a fit.
        dtype: Of activations.
    """
    family = cj.families.Transformer(
        vocabulary=vocabulary,
        block=block,
        layers=layers,
        width=width,
        heads=heads,
        learning_rate=learning_rate,
        warmup=0.2,
        select=select,
        dtype=dtype,
        budget=cj.families.Epochs(epochs),
    )
    base = cj.Experiment(
        source=cj.sources.Text("kjv", cj.sources.BPE(vocabulary), block),
        family=family,
        regime=cj.regimes.Replace(),
        samples=samples,
        generations=generations,
        decoding=cj.decoding.Ancestral(temperature),
        start=start,
    )
    filters = (cj.curation.Likelihood(0.05, 0.95), cj.curation.Repetition(4, 0.2))
    return [
        cj.varied(base, regime=cj.regimes.Mix(0.0, 0.0, 1.0, kept="fresh"), label="real"),
        cj.varied(base, label="replace"),
        cj.varied(base, regime=cj.regimes.AccumulateSubsample(), label="accumulate, same budget"),
        cj.varied(base, regime=cj.regimes.Mix(0.9, 0.0, 0.1, kept="redrawn"), label="10 % real"),
        cj.varied(base, curation=filters, oversample=1.5, label="replace, filtered"),
    ]


if __name__ == "__main__":
    script(main)
