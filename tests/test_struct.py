"""Structs as pytrees: what is a leaf, what is structure, and that classes never stand for each other."""

import dataclasses

import jax
import numpy as np
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.struct import replace, static, struct


@struct
class A:
    x: float
    n: int = static(default=2)


@struct
class Empty:
    pass


@struct
class AlsoEmpty:
    pass


def test_static_fields_are_structure_and_the_others_leaves():
    assert jax.tree.leaves(A(1.5)) == [1.5]
    assert jax.tree.structure(A(1.0)) == jax.tree.structure(A(2.0))
    assert jax.tree.structure(A(1.0)) != jax.tree.structure(A(1.0, 3))


def test_two_classes_without_leaves_have_different_structures():
    assert jax.tree.structure(Empty()) != jax.tree.structure(AlsoEmpty())


def test_a_struct_survives_transformations_and_is_frozen():
    out = jax.jit(jax.vmap(lambda a: replace(a, x=2 * a.x)))(A(np.arange(3.0)))
    assert isinstance(out, A) and out.n == 2
    np.testing.assert_array_equal(out.x, [0, 2, 4])
    with pytest.raises(dataclasses.FrozenInstanceError):
        out.x = 1
    with pytest.raises(TypeError):
        replace(out, unknown=1)


def test_fields_that_do_not_exist_or_have_no_value_are_named():
    with pytest.raises(ConfigError, match=r"A\.size = 3: .*x, n"):
        A(1.0, size=3)
    with pytest.raises(ConfigError, match=r"A\.x = nothing"):
        A(n=3)
    assert A(1.0, 5) == A(x=1.0, n=5)
