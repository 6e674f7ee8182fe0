"""Grids: lists of experiments by product, zip and chain; their record columns; and their grouping by compile signature."""

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from collapse_jax import regimes, schedules
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, leaf, resolve


def varied(experiment: Experiment, **changes: Any) -> Experiment:
    """The experiment with fields changed; a dot reaches into a part: `**{"family.learning_rate": 1e-3}`.

    Raises ConfigError for a field that does not exist.
    """
    for name, value in changes.items():
        experiment = put(experiment, name.split("."), value, name)
    return experiment


def put(part: Any, path: list[str], value: Any, name: str) -> Any:
    known = [field.name for field in dataclasses.fields(part)] if dataclasses.is_dataclass(part) else []
    if path[0] not in known:
        raise ConfigError(name, repr(value), f"a field of {type(part).__name__}: {', '.join(known) or 'it has none'}")
    inner = value if len(path) == 1 else put(getattr(part, path[0]), path[1:], value, name)
    return dataclasses.replace(part, **{path[0]: inner})


def grid(experiment: Experiment, **axes: Iterable[Any]) -> list[Experiment]:
    """Every combination of the values of all axes, the last axis fastest."""
    values = {name: listed(name, axis) for name, axis in axes.items()}
    return [varied(experiment, **dict(zip(values, point, strict=True))) for point in itertools.product(*values.values())]


def zipped(experiment: Experiment, **axes: Iterable[Any]) -> list[Experiment]:
    """The i-th experiment takes the i-th value of every axis; all axes have one length."""
    values = {name: listed(name, axis) for name, axis in axes.items()}
    lengths = {name: len(axis) for name, axis in values.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError("zip", lengths, "axes of one length")
    return [varied(experiment, **dict(zip(values, point, strict=True))) for point in zip(*values.values(), strict=True)]


def chained(*grids: Experiment | Iterable[Experiment]) -> list[Experiment]:
    """One grid after the other."""
    return [e for grid in grids for e in ([grid] if isinstance(grid, Experiment) else grid)]


def listed(name: str, axis: Any) -> list[Any]:
    if isinstance(axis, str) or not isinstance(axis, Iterable):
        raise ConfigError(name, repr(axis), "a list of values")
    values = list(axis)
    if not values:
        raise ConfigError(name, "[]", "at least one value")
    return values


def snake(value: Any) -> str:
    """The class name in snake case: AccumulateSubsample -> accumulate_subsample."""
    return re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", type(value).__name__).lower()


def columns(experiment: Experiment) -> dict[str, Any]:
    """The experiment's fields as record columns: dotted names, a choice of class by its name in snake case."""
    found: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, schedules.Constant | schedules.Linear | schedules.Power) or dataclasses.is_dataclass(value):
            found[name] = snake(value)
            for field in dataclasses.fields(value):  # type: ignore[arg-type]
                add(f"{name}.{field.name}", getattr(value, field.name))
        elif isinstance(value, list | tuple):
            found[name] = "+".join(snake(item) if dataclasses.is_dataclass(item) else str(item) for item in value)
            for place, item in enumerate(value):
                if dataclasses.is_dataclass(item):
                    before = sum(type(other) is type(item) for other in value[:place])
                    own = snake(item) + (f"_{before + 1}" if before else "")  # likelihood, likelihood_2
                    for field in dataclasses.fields(item):
                        add(f"{name}.{own}.{field.name}", getattr(item, field.name))
        elif isinstance(value, np.generic):
            found[name] = value.item()
        elif isinstance(value, np.ndarray | jax.Array):
            found[name] = np.asarray(value).item() if np.ndim(value) == 0 else ",".join(f"{x:g}" for x in np.ravel(value)[:64])
        else:
            found[name] = value

    for field in dataclasses.fields(experiment):  # type: ignore[arg-type]
        add(field.name, getattr(experiment, field.name))
    return found


MOST = 2**26  # numbers in one chain's real data: a quarter of a GiB while generation 0 is fitted


@dataclass(frozen=True)
class Group:
    """Experiments with one compile signature, their leaves stacked: [len(indices), ...]."""

    name: str
    indices: tuple[int, ...]
    experiments: Experiment


def signature(experiment: Any) -> tuple[Any, ...]:
    """Tree structure and leaf shapes and dtypes: two experiments with one signature share one compiled program."""
    leaves, structure = jax.tree.flatten(experiment)
    return structure, tuple((np.shape(x), np.asarray(x).dtype) for x in leaves)


def stack(experiments: Sequence[Any]) -> Any:
    """One tree with a leading axis over experiments of one signature."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *experiments)


def grouped(experiments: Sequence[Any]) -> list[Group]:
    """Groups in the order of their first member; `experiments` are resolved."""
    members: dict[tuple[Any, ...], list[int]] = {}
    for i, experiment in enumerate(experiments):
        members.setdefault(signature(experiment), []).append(i)
    return [
        Group(f"{k:03d}", tuple(indices), stack([experiments[i] for i in indices])) for k, indices in enumerate(members.values())
    ]


def settle(experiments: Sequence[Experiment]) -> list[Experiment]:
    """All experiments resolved; a field in error is named with the experiment's place in the grid."""
    settled = []
    for i, experiment in enumerate(experiments):
        if not isinstance(experiment, Experiment):
            raise ConfigError(f"experiments[{i}]", repr(experiment), "an Experiment")
        try:
            settled.append(resolve(experiment))
        except ConfigError as error:
            if len(experiments) == 1:
                raise
            raise ConfigError(f"experiments[{i}].{error.field}", error.value, error.allowed) from None
    return settled


def founding(experiment: Experiment) -> Experiment:
    """The experiment whose generation 0 this one shares: same source, family, start and first size; always on samples.

    Closed-form families take a rounded number of slots, so that one program founds many sizes.
    """
    e = experiment
    first = int(np.asarray(e.samples.counts)[0])
    values = first * int(getattr(e.source, "dim", 1))
    if not e.family.trained and values > MOST:
        raise ConfigError("samples", first, f"at most {MOST} numbers in a chain's real data, which generation 0 is fitted on")
    slots = first if e.family.trained else max(e.family.least_slots, 1 << (first - 1).bit_length())
    family = dataclasses.replace(e.family, statistics=False) if hasattr(e.family, "statistics") else e.family
    sizes = schedules.Sizes(np.asarray([first], np.int32), slots, 2 * slots)  # type: ignore[arg-type]
    return jax.tree.map(leaf, Experiment(e.source, family, regimes.Replace(), sizes, 0, start=e.start))


def identity(tree: Any) -> str:
    """A digest of a tree's structure and values: experiments are paired where their foundings have one identity."""
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.sha256(str(structure).encode())
    for x in leaves:
        digest.update(str(np.asarray(x).dtype).encode() + str(np.shape(x)).encode() + np.asarray(x).tobytes())
    return digest.hexdigest()
