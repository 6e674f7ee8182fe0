"""Does a larger model collapse less? The protocol of lm_nature.py for several sizes, each restarting from its own base.

Claim (open in the literature; Dohmatob et al. 2410.04840 find that larger models can amplify collapse): compare the rise of perplexity
over generations between sizes, at the same data and decoding.
Command: collapse run experiments/lm_scale.py --chains 5
Seen at tiny scale (5 chains, 2 cores, 5 min; rise of perplexity over 5 generations): 1 x 64: 17.6 +- 3.7 from 37.1, with 10 %
original data 7.2 +- 1.5; 2 x 128: 18.8 +- 3.1 from 28.3, and 7.0 +- 0.1. The larger model loses as many points and a larger share.
"""

from lm_base import Scale, check, conclusion, protocol, protocol_family, with_original  # noqa: F401

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
        samples: Blocks a generation, at least 128 (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit.
        original: Share of original data in the second regime.
        beams: Width of the search.
    """
    check(dataset, files, samples, scale, share=original, beams=beams, generations=generations, epochs=epochs)
    if not weights and not SIZES[scale]:
        raise cj.ConfigError("weights", "nothing", "at --scale paper: folders or hub names of pretrained models")
    families = [protocol_family(scale, name, epochs) for name in weights]
    families = families or [protocol_family(scale, "", epochs, size) for size in SIZES[scale]]
    found = []
    for family in families:
        label = f"{family.layers} × {family.width}"
        rule = cj.decoding.Beam(beams)
        base = protocol(family, scale, dataset, files, samples, generations, decoding=rule, label=label)
        found += [base, cj.varied(base, regime=with_original(original), label=f"{label}, {original:.0%} original")]
    return found


if __name__ == "__main__":
    script(main)
