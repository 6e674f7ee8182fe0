"""Frozen dataclasses that are JAX pytrees: numbers are leaves, `static()` fields are part of the structure."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(*, default: Any = dataclasses.MISSING) -> Any:
    """A field that changes a shape or the code path: metadata of the tree, never traced."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static))
def struct(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and a pytree; the class itself is part of the tree's structure.

    Rebuilding a tree skips `__init__`, so leaves may be tracers, shapes or axes. Two structs without leaves are equal
    only if they are of one class (JAX's own registration compares only the fields' names there).
    """
    frozen = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)  # type: ignore[arg-type]
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
