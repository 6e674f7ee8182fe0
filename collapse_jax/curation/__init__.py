"""What is done to synthetic samples before they enter the store: filters, one file each."""

from collapse_jax.curation.base import Context, Curation, curate, select
from collapse_jax.curation.likelihood import Likelihood
from collapse_jax.curation.repetition import Repetition

__all__ = ["Context", "Curation", "Likelihood", "Repetition", "curate", "select"]
