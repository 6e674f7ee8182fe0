"""GPT-2 on its own continuations (Drayson et al., EMNLP 2025, 2502.15654): human prompts, loss on what follows them.

Claim: fully synthetic training raises perplexity (published 29.31 -> 48.36 over generations 0 ... 9); with all human data beside it,
hardly (29.25 -> 29.92). Protocol: blocks of 512, the first 256 human, the rest drawn by top-k 50; loss on these; one epoch a generation.
Command: collapse run experiments/lm_drayson.py --chains 5 (tiny: blocks of 128), or --scale paper --weights gpt2 --chains 5
Seen at tiny scale (5 chains, 2 cores, 6 min with the base; perplexity, generations 0 -> 9): 30.7 -> 97.4 (rise 66.7 +- 4.5) fully synthetic,
30.7 -> 35.3 (4.6 +- 0.3) with all human data; distinct-2 .470 -> .365 and .470 -> .445.
"""

from lm_base import BLOCK, METRICS, Scale, blocks_in, check, conclusion, enough, model, text  # noqa: F401

import collapse_jax as cj
from collapse_jax.cli import script

RECIPES = {
    "tiny": {"learning_rate": 1e-3, "batch": 8, "test_blocks": 256},
    "small": {"learning_rate": 5e-4, "batch": 16, "test_blocks": 512},
    "paper": {"learning_rate": 5e-5, "batch": 8, "test_blocks": 512, "dtype": "bfloat16", "remat": True},
}
SAMPLES = {"tiny": 128, "small": 512, "paper": 0}


def main(
    scale: Scale = "tiny",
    weights: str = "",
    dataset: str = "",
    files: str = "",
    samples: int = 0,
    generations: int = 9,
    epochs: int = 1,
    top_k: int = 50,
) -> list[cj.Experiment]:
    """GPT-2 on its own continuations.

    Args:
        scale: tiny: a base pretrained here; small: hours; paper: the published settings, with --weights.
        weights: Folder (or hub name) of a pretrained GPT-2, OPT or Llama model.
        dataset: kjv, wikitext2, text_files or a prepared data set (default: kjv; at paper scale wikitext2).
        files: The data set's folder, zip or file.
        samples: Blocks a generation, at least 128 (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit.
        top_k: Of sampling.
    """
    check(dataset, files, samples, scale, generations=generations, epochs=epochs, top_k=top_k)
    block = 512 if scale == "paper" else 2 * BLOCK
    fields = {"block": block, "loss_from": block // 2, "budget": cj.families.Epochs(epochs), "warmup": 0.0, **RECIPES[scale]}
    family = model(scale, weights, "gpt2", **fields)
    source = text(family, dataset or ("wikitext2" if scale == "paper" else "kjv"), files, block, scale)
    base = cj.Experiment(
        source=source,
        family=family,
        regime=cj.regimes.Replace(),
        samples=enough(samples or SAMPLES[scale] or blocks_in(source)),
        generations=generations,
        decoding=cj.decoding.Ancestral(top_k=top_k),
        start="base",
        prompts=cj.Prompts("real", block // 2, kept=True),
        metrics=METRICS,
        label="fully synthetic",
    )
    beside = cj.regimes.Weighted(0.5, kept="fixed")
    return [base, cj.varied(base, regime=beside, label="all human data beside it")]


if __name__ == "__main__":
    script(main)
