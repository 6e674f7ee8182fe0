"""Frozen dataclasses that are JAX pytrees: numbers are leaves, `static()` fields are part of the structure."""

import dataclasses
import functools
from typing import Any, TypeVar, dataclass_transform

import jax

from collapse_jax.errors import ConfigError

T = TypeVar("T")


def static(*, default: Any = dataclasses.MISSING) -> Any:
    """A field that changes a shape or the code path: metadata of the tree, never traced."""
    return dataclasses.field(default=default, metadata={"static": True})


class UnknownField(ConfigError, TypeError):
    """A field that does not exist, or one that has no value."""


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static))
def struct(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and a pytree; the class itself is part of the tree's structure.

    Rebuilding a tree skips `__init__`, so leaves may be tracers, shapes or axes. Two structs without leaves are equal
    only if they are of one class (JAX's own registration compares only the fields' names there). An argument that is no
    field, or a field left without a value, raises UnknownField.
    """
    frozen = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)  # type: ignore[arg-type]
    made, positional = frozen.__init__, [field.name for field in fields if not field.kw_only]

    @functools.wraps(made)
    def checked(self: T, *values: Any, **named: Any) -> None:
        names = [field.name for field in fields]
        unknown = [name for name in named if name not in names]
        given = {*positional[: len(values)], *named}
        lacking = [f.name for f in fields if f.name not in given and f.default is f.default_factory is dataclasses.MISSING]
        if unknown:
            raise UnknownField(
                f"{cls.__name__}.{unknown[0]}", repr(named[unknown[0]]), "a field that exists: " + ", ".join(names)
            )
        if lacking:
            raise UnknownField(f"{cls.__name__}.{lacking[0]}", "nothing", "given")
        made(self, *values, **named)

    frozen.__init__ = checked  # type: ignore[method-assign,assignment]
    leaves = tuple(field.name for field in fields if not field.metadata.get("static"))
    fixed = tuple(field.name for field in fields if field.metadata.get("static"))

    def flatten_with_keys(value: T) -> tuple[Any, Any]:
        children = [(jax.tree_util.GetAttrKey(name), getattr(value, name)) for name in leaves]
        return children, (frozen, tuple(getattr(value, name) for name in fixed))

    def flatten(value: T) -> tuple[Any, Any]:
        return [getattr(value, name) for name in leaves], (frozen, tuple(getattr(value, name) for name in fixed))

    def unflatten(auxiliary: Any, children: Any) -> T:
        value = object.__new__(frozen)
        for name, child in zip(leaves, children, strict=True):
            object.__setattr__(value, name, child)
        for name, item in zip(fixed, auxiliary[1], strict=True):
            object.__setattr__(value, name, item)
        return value

    jax.tree_util.register_pytree_with_keys(frozen, flatten_with_keys, unflatten, flatten)
    return frozen


def replace(value: T, **changes: Any) -> T:
    """`value` with some fields changed; unknown names raise TypeError."""
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]
