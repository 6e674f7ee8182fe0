"""Replace against accumulate for Llama-style models of several sizes (Gerstgrasser et al. 2404.01413).

Claim: replacing the data lets the loss on real text grow with every generation; accumulating them keeps it bounded, at every size.
Protocol: every generation is trained from scratch at a rate of 3e-3, or from --weights at the scale's fine-tuning rate, on data sampled
at temperature 1 from the one before.
Command: collapse run experiments/lm_gerstgrasser.py --chains 5
Seen at tiny scale (5 chains, 2 cores of a Zen 4, 10 min beside other work; perplexity, generations 0 -> 4): 1 x 32, replace 153 -> 351,
accumulate 153 -> 120; 2 x 64, replace 107 -> 258, accumulate 107 -> 98.4: it falls, for 512 blocks are few for a first fit.
"""

from lm_base import BLOCK, METRICS, RECIPES, VOCABULARY, Scale, blocks_in, check, conclusion, enough, model, text  # noqa: F401

import collapse_jax as cj
from collapse_jax.cli import script

SIZES = {
    "tiny": ({"layers": 1, "width": 32, "heads": 2}, {"layers": 2, "width": 64, "heads": 4}),
    "small": (
        {"layers": 2, "width": 64, "heads": 4},
        {"layers": 4, "width": 128, "heads": 8},
        {"layers": 4, "width": 256, "heads": 8},
    ),
    "paper": ({"layers": 4, "width": 256, "heads": 8}, {"layers": 12, "width": 512, "heads": 8}),
}
SAMPLES = {"tiny": 512, "small": 2048, "paper": 0}


def main(
    scale: Scale = "tiny",
    weights: str = "",
    dataset: str = "kjv",
    files: str = "",
    samples: int = 0,
    generations: int = 4,
    epochs: int = 6,
    temperature: float = 1.0,
) -> list[cj.Experiment]:
    """Replace against accumulate, Llama-style, several sizes.

    Args:
        scale: tiny: minutes on two cores; small: hours; paper: models of 4 and 42 million parameters.
        weights: Folder (or hub name) of a Llama model that fits start from, instead of models from scratch.
        dataset: kjv, wikitext2, text_files or a prepared data set, such as TinyStories.
        files: The data set's folder, zip or file.
        samples: Blocks a generation, at least 128 (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit.
        temperature: Of sampling.
    """
    check(dataset, files, samples, scale, generations=generations, epochs=epochs)
    fields = {"block": BLOCK, "budget": cj.families.Epochs(epochs), "loss_from": 0, "warmup": 0.2}
    if weights:  # at a fine-tuning rate
        families = [model(scale, weights, "llama", **fields, **RECIPES[scale])]
        source = text(families[0], dataset, files, BLOCK, scale)
    else:
        fields |= {"vocabulary": VOCABULARY, "learning_rate": 3e-3, "dtype": "bfloat16" if scale == "paper" else "float32"}
        families = [cj.families.Transformer.of("llama", **fields, **size, hidden=3 * size["width"]) for size in SIZES[scale]]
        source = cj.sources.Text(dataset, cj.sources.BPE(VOCABULARY), BLOCK, files=(files,) if files else ())
    base = cj.Experiment(
        source=source,
        family=families[0],
        regime=cj.regimes.Replace(),
        samples=enough(samples or SAMPLES[scale] or blocks_in(source)),
        generations=generations,
        decoding=cj.decoding.Ancestral(temperature),
        start="base" if weights else "scratch",
        metrics=METRICS,
    )
    regimes = {"replace": cj.regimes.Replace(), "accumulate": cj.regimes.Accumulate()}
    return [
        cj.varied(base, family=family, regime=regime, label=f"{family.layers} × {family.width}, {name}")
        for family in families
        for name, regime in regimes.items()
    ]


if __name__ == "__main__":
    script(main)
