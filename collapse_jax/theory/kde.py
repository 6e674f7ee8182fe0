"""Closed forms of kernel density chains: E of the model's variance and of its squared mean error, in one dimension of many.

`sizes` are the samples M_i of every fit, `kernel` the kernel's variance in that dimension: h² (Gaussian) or h²/(d + 2) (ball of
radius h). A model's variance v is that of its training points plus the kernel's; its samples have this variance about its mean.
The source has mean 0 and variance 1.
"""

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


def replace(sizes: Array, kernel: float) -> tuple[Array, Array]:
    """E v and E μ² at every generation: points have variance s ← (s + kernel)(1 - 1/M), so it grows only where
    kernel · (M - 1) > s; each mean moves by (s + kernel)/M. Exact: that of M samples of a law of variance v."""
    v, error, found = 1.0, 0.0, []
    for m in np.asarray(sizes, float):
        error += v / m
        v = v * (1 - 1 / m) + kernel
        found.append((v, error))
    return tuple(np.array(found).T)  # type: ignore[return-value]


def accumulate(sizes: Array, kernel: float) -> tuple[Array, Array]:
    """The same where every model keeps all N points so far. Exact, from E of the pooled second moment and squared mean:

    new points have the model's mean μ and variance s + kernel, so E Σx²/N and E μ² are carried on by (N, M)-weighted sums;
    s = E Σx²/N - E μ².
    """
    found, n, second, mean = [], 0.0, 0.0, 0.0
    for i, m in enumerate(np.asarray(sizes, float)):
        spread = 1.0 if i == 0 else second - mean + kernel  # of the new points about their model's mean
        before = 0.0 if i == 0 else mean  # E of that mean's square
        total = n + m
        second = (n * second + m * (spread + before)) / total
        # The pooled mean is the old one plus (m / total) times the new points' deviation from it.
        mean = before + (m / total) ** 2 * spread / m
        n = total
        found.append((second - mean + kernel, mean))
    return tuple(np.array(found).T)  # type: ignore[return-value]
