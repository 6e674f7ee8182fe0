"""Whether a model repeats its training samples: their distance to generated ones against that between real samples."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.neighbours import nearest_squares
from collapse_jax.metrics.registry import parts

Array = jax.Array
NEAR = 0.01  # quantile of the real distances, below which a generated sample counts as a copy


def nearest(x: Array, train: Array, present: Array | None = None) -> Array:
    """Distance of every sample of x [n, dim] to the nearest of train [s, dim], those with present [s] > 0: [n], in units of x.

    Infinite where none is present. O(n s dim), 64 s distances at a time.
    """
    return jnp.sqrt(nearest_squares(train, x, 1, present)[0])


def quantile(values: Array, weight: Array, q: float) -> Array:
    """The least of values [n] that has at least the share q of weights [n] at or below it; infinite without weight."""
    order = jnp.argsort(jnp.where(weight > 0, values, jnp.inf))
    ahead = jnp.cumsum(weight[order])
    place = jnp.argmax(ahead >= q * ahead[-1] * (1 - 1e-6))
    return jnp.where(ahead[-1] > 0, values[order][place], jnp.inf)


def memorisation(x: Array, weight: Array, train: Array, y: Array, present: Array | None = None) -> dict[str, Array]:
    """memory_ratio and copied_share of generated x [n, dim] with weights [n], against train [s, dim] and real y [m, dim].

    memory_ratio: median distance of generated samples to the nearest training sample over the median distance of held-out real
    samples to it, >= 0; 1 where both are of one law, 0 where half are copies. copied_share: share of generated samples nearer
    to a training sample than all but 1 % of held-out ones (at or below the 1 % quantile of their distances), [0, 1]; 0.01
    within one law (the data-copying test's question, Meehan et al. 2020; distances as in Carlini et al. 2023). train is the
    real training set, present [s] which of it is there. Nothing generated: ratio 1 and share 0. No training sample: the same.
    Samples that are not finite are infinitely far: with half of them the ratio is infinite.
    Real distances all 0: ratio 0 where the generated ones are, else infinite. Of 512 samples each, normal in the plane: ratio
    1.000, standard deviation 0.052; share 6/513, standard deviation 0.0069.
    """
    own, real = nearest(x, train, present), nearest(y, train, present)
    everyone = jnp.ones(len(y))
    middle, usual = quantile(own, weight, 0.5), quantile(real, everyone, 0.5)
    defined = jnp.any(weight > 0) & jnp.isfinite(usual)
    apart = jnp.where(middle > 0, jnp.inf, 0.0)
    ratio = jnp.where(usual > 0, middle / jnp.where((usual > 0) & defined, usual, 1.0), apart)
    near = jnp.sum(jnp.where(own <= quantile(real, everyone, NEAR), weight, 0.0))
    total = jnp.sum(weight)
    return {
        "memory_ratio": jnp.where(defined, ratio, 1.0),
        "copied_share": jnp.where(defined, near / jnp.where(total > 0, total, 1.0), 0.0),
    }


@parts(
    "points",
    {
        "memory_ratio": {
            "formula": "median distance of x to the nearest training sample / that of y",
            "span": "[0, ∞)",
            "direction": "either",
            "unit": "1",
        },
        "copied_share": {
            "formula": "share of x nearer to a training sample than all but 1 % of y",
            "span": "[0, 1]",
            "direction": "up",
        },
    },
    unit="share",
    cost="O((n + m) s dim), s training samples",
    source="Meehan et al. 2020; Carlini et al. 2023",
    least=64,
    needs=("training",),
)
def of_training(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`memorisation` of the training set that this generation's model was fitted on, real or not.

    The reference is held-out real samples: once the training set is synthetic and has drifted from them, the model's samples are
    nearer to it than real ones are, without any copying. Read generation 0, or compare with the controls.
    From `least` on, with as many training samples, a quarter of copies moves memory_ratio by two of its standard deviations.
    """
    train = around["train"]
    rows = train.absolute()
    return memorisation(x, weight, rows[:, : x.shape[1]], y, train.weight)
