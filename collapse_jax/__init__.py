"""collapse_jax: generation chains of any model family, thousands at a time, to study and prevent model collapse."""

from collapse_jax.engine import devices as _devices

_devices.prepare()

from collapse_jax import curation, decoding, families, regimes, schedules, sources, theory  # noqa: E402
from collapse_jax.engine.absorption import fits_to_absorption  # noqa: E402
from collapse_jax.engine.export import export  # noqa: E402
from collapse_jax.engine.grid import chained, grid, varied, zipped  # noqa: E402
from collapse_jax.engine.plan import plan  # noqa: E402
from collapse_jax.engine.run import Run, load, resume, run  # noqa: E402
from collapse_jax.errors import ConfigError, Stopped  # noqa: E402
from collapse_jax.experiment import Chain, Experiment, Record, advance, initial_chain, resolve  # noqa: E402
from collapse_jax.prompts import Prompts  # noqa: E402

__version__ = "0.1.0"
__all__ = [
    "Chain",
    "ConfigError",
    "Experiment",
    "Prompts",
    "Record",
    "Run",
    "Stopped",
    "advance",
    "chained",
    "curation",
    "decoding",
    "export",
    "families",
    "fits_to_absorption",
    "grid",
    "initial_chain",
    "load",
    "plan",
    "regimes",
    "resolve",
    "resume",
    "run",
    "schedules",
    "sources",
    "theory",
    "varied",
    "zipped",
]
