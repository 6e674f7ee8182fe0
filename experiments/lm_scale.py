"""Does a larger model collapse less? The protocol of lm_nature.py for several sizes, each restarting from its own base.

Claim (open in the literature; Dohmatob et al. 2410.04840 find that larger models can amplify collapse): compare the rise of perplexity
over generations between sizes, at the same data and decoding.
Command: collapse run experiments/lm_scale.py --chains 4
"""

from lm_base import BLOCK, METRICS, Scale, blocks_in, lines, model, table, text
from lm_nature import RECIPES, SAMPLES

import collapse_jax as cj
from collapse_jax.cli import script

SIZES = {
    "tiny": ({"layers": 1, "width": 64, "heads": 2}, {"layers": 2, "width": 128, "heads": 4}),
    "small": ({"layers": 2, "width": 128, "heads": 4}, {"layers": 4, "width": 256, "heads": 8}),
    "paper": (),
}


def main(
    scale: Scale = "tiny",
    weights: tuple[str, ...] = (),
    dataset: str = "",
    files: str = "",
    samples: int = 0,
    generations: int = 5,
    epochs: int = 5,
    original: float = 0.1,
    beams: int = 5,
) -> list[cj.Experiment]:
    """Sizes of a language model against regimes.

    Args:
        scale: tiny: bases pretrained here; small: hours; paper: with several --weights.
        weights: Folders (or hub names) of pretrained models of several sizes.
        dataset: kjv, wikitext2, text_files or a prepared data set (default: kjv; at paper scale wikitext2).
        files: The data set's folder, zip or file.
        samples: Blocks a generation (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit.
        original: Share of original data in the second regime.
        beams: Width of the search.
    """
    fixed = {"block": BLOCK, "final_rate": 0.05, "warmup": 0.0, "b2": 0.999, "select": "best", "evaluations": epochs}
    fields = {"budget": cj.families.Epochs(epochs), **fixed, **RECIPES[scale]}
    sizes = SIZES[scale] if not weights else ()
    if not weights and not sizes:
        raise cj.ConfigError("weights", "nothing", "at --scale paper: folders or hub names of pretrained models")
    families = [model(scale, name, "opt", **fields) for name in weights] + [
        model(scale, "", "opt", size, **fields) for size in sizes
    ]
    found = []
    for family in families:
        source = text(family, dataset or ("wikitext2" if scale == "paper" else "kjv"), files, BLOCK, scale)
        base = cj.Experiment(
            source=source,
            family=family,
            regime=cj.regimes.Replace(),
            samples=samples or SAMPLES[scale] or blocks_in(source),
            generations=generations,
            decoding=cj.decoding.Beam(beams),
            start="base",
            prompts=cj.Prompts("real"),
            metrics=METRICS,
            label=f"{family.layers} × {family.width}",
        )
        mixed = cj.regimes.Mix(1 - original, 0.0, original, kept="redrawn")
        found += [base, cj.varied(base, regime=mixed, label=f"{base.label}, {original:.0%} original")]
    return found


def conclusion(run: cj.Run) -> str:
    """Perplexities and diversity by arm, and the figure of perplexity by generation."""
    return f"{table(run)}\nfigure: {lines(run)}"


if __name__ == "__main__":
    script(main)
