"""What fits a TPU slice: OPT at its published sizes on blocks of 64 as in Nature 2024, for `collapse plan --topology` (nothing is run).

collapse plan benchmarks/tpu_sizes.py --topology v5e:2x4 --chains 8 --size 125m
collapse plan benchmarks/tpu_sizes.py --topology v5e:2x4 --chains 2 --fsdp 4 --size 1.3b
"""

from typing import Literal

import collapse_jax as cj
from collapse_jax.cli import script

SIZES = {
    "125m": {"layers": 12, "width": 768, "heads": 12},
    "1.3b": {"layers": 24, "width": 2048, "heads": 32},
    "2.7b": {"layers": 32, "width": 2560, "heads": 32},
    "6.7b": {"layers": 32, "width": 4096, "heads": 32},
}


def main(size: Literal["125m", "1.3b", "2.7b", "6.7b"] = "125m", samples: int = 4096, batch: int = 128) -> cj.Experiment:
    """OPT, replaced by its own beam search every generation.

    Args:
        size: Parameters of the published model.
        samples: Blocks a generation.
        batch: Blocks a step of AdamW.
    """
    fixed = {"vocabulary": 50272, "block": 64, "context": 2048, "bos": 2, "dtype": "bfloat16", "remat": True}
    family = cj.families.Transformer.of("opt", **fixed, batch=batch, budget=cj.families.Epochs(5), **SIZES[size])
    prompts = {"prompts": cj.Prompts("real"), "decoding": cj.decoding.Beam(5)}
    source = cj.sources.ZipfLanguage(50272, 64, order=1)
    return cj.Experiment(source, family, cj.regimes.Replace(), samples, 9, metrics=["perplexity", "distinct_2"], **prompts)


if __name__ == "__main__":
    script(main)
