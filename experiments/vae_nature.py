"""Nature 2024's chain of autoencoders on handwritten digits: every generation's decoder trains the next, from scratch.

Claim (Shumailov et al. 2024): the images lose their variety. Measured as there, by the spread of the generation-0 encoder's means
over the images of each generation: it shrinks every generation. Batches are redrawn from the last decoder at every step
("endless"), so that no finite set of samples adds its own error; the second arm has such a set, as large as the real one.
Command: collapse run experiments/vae_nature.py --chains 4
Hardware and time: 2 CPU cores (AMD EPYC), 11 min 45 s on a busy machine.
Expect (digits, 4 chains), latent_spread at generations 0 … 4: endless .60 .29 .11 .0009 .0001, from a finite set .60 .30 .10 .0017
.0001: the finite set adds next to nothing, the error is the network's. Both end at one image, the mean of all digits
(elbo -24.0 → -27.2 nats); samples/ has the pictures. At generation 0 the spread is below 1 already: decoders draw their means.
MNIST: collapse run experiments/vae_nature.py --dataset mnist_idx --folder FOLDER (its four idx files), the published settings.
"""

from typing import Literal

import collapse_jax as cj
from collapse_jax.cli import script


def main(
    dataset: Literal["digits", "mnist_idx", "mnist", "fashion_mnist"] = "digits",
    folder: str | None = None,
    samples: int | None = None,
    generations: int = 5,
    epochs: int | None = None,
    latent: int = 20,
    batch: int = 256,
) -> list[cj.Experiment]:
    """Nature 2024's chain of autoencoders on handwritten digits.

    Args:
        dataset: Which images; "digits" are scikit-learn's 8×8 ones, in the same network at their size.
        folder: Of MNIST's idx files, with mnist_idx.
        samples: Images a generation (default: 1,437 for digits, 57,000 otherwise: nearly all).
        generations: Synthetic generations.
        epochs: Passes over as many images (default: as published 30, and 200 for the few digits).
        latent: Dimensions of the code.
        batch: Images a step.
    """
    small = dataset == "digits"
    family = cj.families.VAE(
        "conv",
        latent,
        batch=batch,
        endless=True,
        budget=cj.families.Epochs(epochs or (200 if small else 30)),
        learning_rate=1e-3,
        schedule="constant",
        warmup=0.0,
        b2=0.999,
        decay="l2",
        weight_decay=1e-5 / batch,  # published for a loss summed over the batch; ours is its mean
        clip=float("inf"),
    )
    source = cj.sources.Images(dataset, folder=folder)
    base = cj.Experiment(source, family, cj.regimes.Replace(), samples or (1437 if small else 57_000), generations)
    return [cj.varied(base, label="endless"), cj.varied(base, **{"family.endless": False}, label="a finite set")]


if __name__ == "__main__":
    script(main)
