"""Every sample-based metric by its column name: what it measures, in which unit, at which cost, and where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from collapse_jax.metrics.points import HELD_OUT

KINDS = ("points", "states", "tokens")  # what samples are: float [n, dim], int [n], int [n, block]
DIRECTIONS = ("up", "down", "either")  # where collapse moves it
NEEDS = (
    "probabilities",
    "modes",
    "density",
    "classes",
    "training",
    "text",
    "likelihood",
    "features",
    "continuation",
    "vocabulary",
    "frequencies",
    "axes",
)  # see `chosen.FITS`


@dataclass(frozen=True)
class Metric:
    """A record column made of generated samples x, weights of them and real held-out samples y.

    formula, unit, span (range), cost (in n generated and m real samples) and source (paper) are text for the reference page;
    direction: where collapse moves it; least: samples below which it mostly measures its own noise, and is not in "all".
    function(x, weight, y, key) -> array [], pure, of static shapes; lapack: it calls LAPACK, so that chains which measure it
    are never vmapped on CPUs (see engine.parallel.layout); part: the function gives a dictionary, of which this is one entry:
    columns of one function are computed together. needs: what its experiment must have, of NEEDS; such a function takes a fifth
    argument, the dictionary `around`: what all chains share and the source, family, params, decoding, train (this generation's
    training set), t, prompt (tokens at the beginning of every sequence that are a kept prompt's), and first (parameters of
    generation 0, where it needs "likelihood" or "features"). listed: its value is an array [k], a list in the records; it is made
    where it is named, and not by "all". held: real samples it is compared with, as far as a finite data set has them.
    """

    name: str
    kind: str
    formula: str
    unit: str
    span: str
    direction: str
    cost: str
    source: str
    least: int
    function: Callable[..., Any]
    lapack: bool = False
    part: str | None = None
    needs: tuple[str, ...] = ()
    listed: bool = False
    held: int = HELD_OUT

    def __call__(self, x: Any, weight: Any, y: Any, key: Any, *around: Any) -> Any:
        """Its value for one set of samples: [], or [k] where it is listed. Raises ValueError where x or y has no row.

        A weight that is no finite number above 0 says that its sample is not there; so may all.
        """
        some(x=x, y=y)
        out = self.function(x, usable(weight), y, key, *around)
        return out if self.part is None else out[self.part]

    @property
    def group(self) -> str:
        """What its random key is derived from: its own name, or that of the function whose parts share one."""
        return self.name if self.part is None else self.function.__name__


def some(**samples: Any) -> None:
    """Raise ValueError where an array of samples has no row."""
    for name, x in samples.items():
        if getattr(x, "shape", ())[:1] == (0,):
            raise ValueError(f"{name}: 0 samples, expected at least 1")


def usable(weight: Any) -> Any:
    """Weights of samples, 0 where they are no finite number above 0."""
    return jnp.where((weight > 0) & jnp.isfinite(weight), weight, 0.0)


REGISTERED: dict[tuple[str, str], Metric] = {}  # by kind and name: one quantity has one name, of whatever samples


def metric(name: str, kind: str, **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: registers `function(x, weight, y, key)` as the metric `name`; the fields are those of `Metric`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        made = Metric(name=name, kind=kind, function=function, **fields)
        if kind not in KINDS or made.direction not in DIRECTIONS or set(made.needs) - set(NEEDS) or (kind, name) in REGISTERED:
            raise ValueError(f"{name}: {kind}, {made.direction}, {made.needs}")
        REGISTERED[kind, name] = made
        return function

    return register


def parts(kind: str, rows: dict[str, dict[str, Any]], **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: registers the entries of the dictionary that `function` gives; rows: each one's own fields, by its name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, own in rows.items():
            metric(name, kind, part=name, **(fields | own))(function)
        return function

    return register


def of_kind(kind: str) -> dict[str, Metric]:
    """The registered metrics of samples of this kind, by name."""
    return {name: m for (own, name), m in REGISTERED.items() if own == kind}
