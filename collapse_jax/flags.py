"""The engine's flags, and how they stand beside those of an experiment file."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_type_hints

from collapse_jax.errors import ConfigError


def engine_flags(
    chains: int = 8,
    seed: int = 0,
    out: Path | None = None,
    devices: int | None = None,
    parallelism: Literal["shard_map", "pmap", "jit"] = "shard_map",
    stride: int | None = None,
    keep: str | None = None,
    chunk: int | None = None,
    base: Path | None = None,
    controls: int = 0,
    fsdp: int = 1,
    launcher: Literal["local"] = "local",
    x64: bool = False,
    json: bool = False,
) -> None:
    """The flags of `collapse run` and `collapse plan` that are not the experiment file's own.

    Args:
        chains: Independent chains of every experiment.
        seed: The seed all keys derive from.
        out: The run's folder (default: runs/NAME-OF-FILE).
        devices: How many devices to use (default: all).
        parallelism: How chains are spread over devices.
        stride: Generations between host visits (default: 1 for neural families, about a second's worth for cheap ones).
        keep: Checkpoints to keep: all, last:K or every:K.
        chunk: Chains vmapped together on a device (default: the family's own).
        base: Run whose newest model fits start from, where an experiment says start="base".
        controls: Control chains beside the run, on fresh and on repeated real data alone.
        fsdp: Devices that the model of one chain lies on in parts (neural families).
        launcher: Where the run's processes are started.
        x64: Compute closed forms in float64, for comparisons on CPUs.
        json: Print the result as JSON.
    """


def plan_flags(topology: str | None = None) -> None:
    """The flags of `collapse plan` alone.

    Args:
        topology: A TPU slice to plan for, such as v5e:2x4; it need not be here, but libtpu must.
    """


def precision(x64: bool) -> None:
    """float64 (or float32) as the default of closed-form families, in this process."""
    import jax

    jax.config.update("jax_enable_x64", x64)


def with_engine_flags(main: Callable[..., Any], action: Callable[..., Any], *others: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the flags of `main`, the engine's and `others`', which gives `main`'s experiments and all flags to `action`."""
    own = inspect.signature(main).parameters
    engine = {name: p for flags in (engine_flags, *others) for name, p in inspect.signature(flags).parameters.items()}
    taken = set(own) & set(engine)
    if taken:
        raise ConfigError("main", ", ".join(sorted(taken)), "arguments with other names than the engine's flags")

    for p in own.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.annotation is p.default is p.empty:
            raise ConfigError("main", p.name, "arguments that each have a name and a type")

    def both(**values: Any) -> Any:
        flags = {name: values.pop(name) for name in engine}
        if flags.pop("x64"):
            precision(True)
        return action(main(**values), **flags)

    kinds = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.values(), *engine.values())]
    both.__signature__ = inspect.Signature(kinds)  # type: ignore[attr-defined]
    hints = {name: kind for flags in (main, engine_flags, *others) for name, kind in get_type_hints(flags).items()}
    both.__annotations__ = {name: kind for name, kind in hints.items() if name != "return"}
    told = [inspect.getdoc(flags) or "" for flags in (main, engine_flags, *others)]
    helps = [text.partition("Args:\n")[2].rstrip() for text in told]
    both.__doc__ = told[0].split("\n\n")[0] + "\n\nArgs:\n" + "\n".join(helps)
    return both
