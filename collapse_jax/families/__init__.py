"""Families: generative models together with how they are fitted and sampled."""

from collapse_jax.families.base import Family
from collapse_jax.families.budget import Epochs, Steps
from collapse_jax.families.diffusion import Diffusion
from collapse_jax.families.discrete import Discrete
from collapse_jax.families.flow import Flow
from collapse_jax.families.gaussian import Gaussian
from collapse_jax.families.gmm import GaussianMixture
from collapse_jax.families.kde import KernelDensity
from collapse_jax.families.logistic import LogisticRegression
from collapse_jax.families.ngram import NGram
from collapse_jax.families.regression import LinearRegression
from collapse_jax.families.smoothing import AddK, JelinekMercer, WittenBell
from collapse_jax.families.transformer import Transformer
from collapse_jax.families.vae import VAE

__all__ = [
    "AddK",
    "Diffusion",
    "Discrete",
    "Epochs",
    "Family",
    "Flow",
    "Gaussian",
    "GaussianMixture",
    "JelinekMercer",
    "KernelDensity",
    "LinearRegression",
    "LogisticRegression",
    "NGram",
    "Steps",
    "Transformer",
    "VAE",
    "WittenBell",
]
