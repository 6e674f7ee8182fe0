"""Weights that need no file: the same numbers in any library, by a formula."""

import numpy as np

# Of the layers' weights in PyTorch's layout.
SHAPES = {
    "halve_1": (64, 1, 4, 4),
    "halve_2": (128, 64, 4, 4),
    "code_mean": (20, 6272),
    "code_log_variance": (20, 6272),
    "grow": (6272, 20),
    "double_1": (128, 64, 4, 4),
    "double_2": (64, 1, 4, 4),
}


def by_formula(place: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in ±0.05 that look random: float64 of this shape, others for every place."""
    index = np.arange(int(np.prod(shape)), dtype=np.float64)
    return (0.05 * np.sin(index * 12.9898 + place * 78.233)).reshape(shape)
