"""Experiments as JSON and back, so that a run's folder alone is enough to go on with it."""

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from collapse_jax.errors import ConfigError


def config_hash(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def to_json(value: Any) -> Any:
    """Numbers, strings, tuples, arrays and dataclasses as JSON values; dataclasses carry their class's place.

    Raises ConfigError for anything else: it could not be read back.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": place(type(value)), **fields}
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, np.ndarray | jax.Array):
        array = np.asarray(value)
        return {"array": array.tolist(), "dtype": str(array.dtype)}
    raise ConfigError("experiment", repr(value), "numbers, text, lists and this package's dataclasses")


def from_json(value: Any) -> Any:
    """What `to_json` was given (lists come back as tuples). Raises ConfigError where a class is not to be found."""
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.asarray(value["array"], value["dtype"])
    fields = {name: from_json(item) for name, item in value.items() if name != "class"}
    made: Any = object.__new__(find(value["class"]))
    for name, item in fields.items():
        object.__setattr__(made, name, item)
    return made


def place(kind: type) -> str:
    """`module:name`, or `file.py:name` for a class of a script or of a file beside it, which only its folder makes importable."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    loose = "." not in kind.__module__ and file and not {"site-packages", "dist-packages"} & set(Path(file).parts)
    script = kind.__module__ == "__main__" or loose
    return f"{Path(file).resolve() if script and file else kind.__module__}:{kind.__qualname__}"


def find(name: str) -> type:
    """The class at a place. Raises ConfigError where it is gone or is no dataclass."""
    where, _, inner = name.rpartition(":")
    try:
        found: Any = load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
        for part in inner.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, OSError):
        raise ConfigError("class", name, "a class that can still be imported") from None
    if not dataclasses.is_dataclass(found) or not isinstance(found, type):
        raise ConfigError("class", name, "a dataclass")
    return found


def load_file(path: Path) -> Any:
    """A Python file as a module, imported once per process."""
    path = path.resolve()
    name = "experiment_file_" + "".join(c if c.isalnum() else "_" for c in str(path))
    main = sys.modules.get("__main__")
    if getattr(main, "__file__", None) and Path(main.__file__).resolve() == path:  # type: ignore[union-attr,arg-type]
        return main
    for known in list(sys.modules.values()):  # the same file under its own name: its classes are to be the same
        if getattr(known, "__dict__", {}).get("__file__") == str(path):
            return known
    if name not in sys.modules:
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # for files beside it, as when Python runs it
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise OSError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
