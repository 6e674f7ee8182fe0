"""Sources: the real distributions and data sets that chains start from."""

from collapse_jax.sources.analytic import Categorical, Normal, Zipf
from collapse_jax.sources.base import Source
from collapse_jax.sources.images import Images
from collapse_jax.sources.languages import ZipfLanguage, ZipfMandelbrot
from collapse_jax.sources.mixtures import Blobs, EightGaussians, GaussianGrid
from collapse_jax.sources.shapes import Circles, Rosenbrock, SwissRoll, TwoMoons
from collapse_jax.sources.tasks import LinearTask, LogisticTask
from collapse_jax.sources.text import Text
from collapse_jax.sources.tokenizers import BPE, Bytes, Pretrained

__all__ = [
    "BPE",
    "Blobs",
    "Bytes",
    "Categorical",
    "Circles",
    "EightGaussians",
    "GaussianGrid",
    "Images",
    "LinearTask",
    "LogisticTask",
    "Normal",
    "Pretrained",
    "Rosenbrock",
    "Source",
    "SwissRoll",
    "Text",
    "TwoMoons",
    "Zipf",
    "ZipfLanguage",
    "ZipfMandelbrot",
]
