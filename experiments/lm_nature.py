"""Nature 2024's language models: a pretrained model fine-tuned, generation after generation, on what the last one wrote.

Claim (Shumailov et al., Nature 631:755): with no original data every generation is worse on real text; with 10 % of it kept, far less
so; the text drifts to what generation 0 finds likely, with a longer tail of what it never would write; a repetition penalty makes it worse.
Protocol: every generation restarts from the pretrained model; each real block of 64 tokens is a prompt, and the 64 tokens that beam
search writes behind it are a block of the new training set.
Command: collapse run experiments/lm_nature.py --chains 6 (tiny: needs nothing from outside), or
collapse run experiments/lm_nature.py --scale paper --weights FOLDER --chains 5, the folder being facebook/opt-125m as transformers'
save_pretrained writes model and tokenizer (config.json, model.safetensors, tokenizer.json).
Seen at tiny scale (6 chains, 2 cores, 10 min and 2 1/2 for the base; perplexity, generations 0 -> 9): 28.2 -> 51.3 (rise 23.1 +- 2.3) without
original data, 28.3 -> 35.3 (7.1 +- 0.4) with 10 %, as claimed; 28.2 -> 40.8 with the penalty, which helps here, and no longer tail appears.
"""

from pathlib import Path

import numpy as np
import polars as pl
from lm_base import METRICS, Scale, check, lines, protocol, protocol_family, saved, table, told, with_original

import collapse_jax as cj
from collapse_jax.cli import script

ARMS = ("no original data", "10 % original data", "no original data, repetition penalty 2")
SHOWN = (0, 1, 2, 3, 5, 9)


def main(
    scale: Scale = "tiny",
    weights: str = "",
    dataset: str = "",
    files: str = "",
    samples: int = 0,
    generations: int = 9,
    epochs: int = 5,
    epochs_with_original: int = 10,
    original: float = 0.1,
    beams: int = 5,
    learning_rate: float = 0.0,
) -> list[cj.Experiment]:
    """Nature 2024's language models.

    Args:
        scale: tiny: a base pretrained here, minutes on two cores; small: hours; paper: the published settings, with --weights.
        weights: Folder (or hub name) of a pretrained OPT, GPT-2 or Llama model.
        dataset: kjv, wikitext2, text_files or a prepared data set (default: kjv; at paper scale wikitext2).
        files: The data set's folder, zip or file.
        samples: Blocks a generation, at least 128 (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit without original data.
        epochs_with_original: Passes of a fit with a share of it.
        original: That share, drawn anew each generation.
        beams: Width of the search.
        learning_rate: AdamW's peak (0: the scale's).
    """
    check(
        dataset,
        files,
        samples,
        scale,
        share=original,
        beams=beams,
        generations=generations,
        epochs=epochs,
        epochs_with_original=epochs_with_original,
    )
    more = {"learning_rate": learning_rate} if learning_rate else {}
    family = protocol_family(scale, weights, epochs, scored=True, **more)
    base = protocol(family, scale, dataset, files, samples, generations, decoding=cj.decoding.Beam(beams))
    base = cj.varied(base, metrics=[*METRICS, "sequence_perplexity"])
    longer = cj.varied(base.family, budget=cj.families.Epochs(epochs_with_original), evaluations=epochs_with_original)
    return [
        cj.varied(base, label=ARMS[0]),
        cj.varied(base, family=longer, regime=with_original(original), label=ARMS[1]),
        cj.varied(base, decoding=cj.decoding.Beam(beams, repetition_penalty=2.0), label=ARMS[2]),
    ]


def conclusion(run: cj.Run) -> str:
    """Draws perplexity by generation and the histograms under generation 0; gives perplexities and paired differences as text."""
    return told(run) + "\n" + table(run) + "\n" + "\n".join(f"figure: {path}" for path in (lines(run), histograms(run)))


def histograms(run: cj.Run) -> Path:
    """Perplexity of every generated block under the chain's model of generation 0, all chains together, by arm and generation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    arms = len(run.experiments)
    figure, axes = plt.subplots(1, arms, figsize=(4.2 * arms, 3.6), layout="constrained", sharex=True, squeeze=False)
    everything = np.concatenate([np.asarray(x) for x in run.records["sequence_perplexity"].to_list()])
    bins = np.geomspace(1, 1.05 * np.max(everything[np.isfinite(everything)], initial=2.0), 60)
    for number, e in enumerate(run.experiments):
        place = axes[0, number]
        for i, t in enumerate(t for t in SHOWN if t <= e.generations):
            mine = run.records.filter((pl.col("experiment") == number) & (pl.col("generation") == t))
            values = np.concatenate([np.asarray(x) for x in mine["sequence_perplexity"].to_list()])
            values = values[np.isfinite(values) & (values > 0)]
            counts = np.histogram(values, bins)[0] / max(len(values), 1)
            place.stairs(counts, bins, color=plt.get_cmap("viridis")(i / len(SHOWN)), label=f"generation {t}")
        place.set(xscale="log", yscale="log", xlabel="perplexity under generation 0", title=e.label or str(number))
        place.title.set_fontsize(9)
        place.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("share of blocks")
    axes[0, 0].legend(frameon=False, fontsize=7)
    return saved(figure, run, "histograms_under_generation_0")


if __name__ == "__main__":
    script(main)
