"""Closed-form predictions, drawn beside what a run measures."""

from collapse_jax.theory import discrete, gaussian, kde, regression, selection, shares
from collapse_jax.theory.predictions import Prediction, predict

__all__ = ["Prediction", "discrete", "gaussian", "kde", "predict", "regression", "selection", "shares"]
