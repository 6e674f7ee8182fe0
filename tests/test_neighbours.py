"""Nearest neighbours in blocks: SciPy's distances sorted, whatever the sizes, dimensions, ties and absent points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from collapse_jax.metrics.neighbours import nearest_squares, radii, smallest, squares


def normals(seed, *shape, scale=1.0, shift=0.0):
    return np.asarray(np.random.default_rng(seed).normal(shift, scale, shape), np.float32)


@pytest.mark.parametrize("n, q, dim, k", [(300, 70, 2, 6), (1000, 64, 30, 6), (40, 3, 9, 5), (1, 1, 2, 1), (150, 130, 1, 1)])
def test_nearest_squares_are_scipys_sorted(n, q, dim, k):
    points, queries = normals(0, n, dim), normals(1, q, dim)
    expected = np.sort(cdist(queries, points, "sqeuclidean"), axis=1)[:, :k].T
    found = jax.jit(nearest_squares, static_argnums=2)(points, queries, k)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * dim)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("dim", [1, 2, 12])
def test_they_are_so_however_the_compiler_fuses_what_comes_before(dim, k):
    """50 shifted points: XLA may round a distance in two ways within one program, and a search for the least must not mind."""
    points, queries = normals(6, 50, dim, scale=2.0), normals(7, 60, dim, shift=0.5)
    expected = np.sort(cdist(queries, points, "sqeuclidean"), axis=1)[:, :k].T

    @jax.jit
    def moved(points, queries):
        return nearest_squares(points - jnp.mean(queries, axis=0), queries - jnp.mean(queries, axis=0), k)

    np.testing.assert_allclose(moved(points, queries), expected, rtol=1e-4, atol=1e-5 * dim)


def test_smallest_are_numpys_with_ties_and_infinities():
    values = np.random.default_rng(0).integers(0, 40, (500, 30)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.inf
    np.testing.assert_array_equal(smallest(jnp.asarray(values), 7), np.sort(values, axis=0)[:7])
    few = jnp.asarray([[3.0], [1.0]])
    np.testing.assert_array_equal(smallest(few, 3), [[1.0], [3.0], [np.inf]])


@pytest.mark.parametrize("dim", [2, 20])
def test_a_masked_point_is_as_if_deleted_even_if_it_is_no_number(dim):
    x, there = normals(2, 200, dim), np.random.default_rng(3).random(200) < 0.5
    kept = radii(jnp.asarray(x[there]), 5)
    x[~there] = np.nan
    found = np.asarray(radii(jnp.asarray(x), 5, jnp.asarray(there, jnp.float32)))
    np.testing.assert_allclose(found[there], kept, rtol=1e-5)
    assert (found[~there] == -1).all()


@pytest.mark.parametrize("dim", [2, 20, 300])
def test_equal_points_are_at_distance_zero_in_any_dimension(dim):
    x = normals(4, 1, dim, scale=5.0, shift=3.0).repeat(70, axis=0)
    assert not np.any(squares(jnp.asarray(x), jnp.asarray(x))) and not np.any(radii(jnp.asarray(x), 5))


def test_radii_with_few_others_reach_to_the_farthest():
    line = jnp.asarray([[0.0], [1.0], [3.0]])
    np.testing.assert_array_equal(radii(line, 5), [9.0, 4.0, 9.0])
    np.testing.assert_array_equal(radii(line, 1), [1.0, 1.0, 4.0])
    np.testing.assert_array_equal(radii(line[:1], 5), [0.0])


def test_chains_side_by_side_find_what_each_finds_alone():
    x = jnp.asarray(normals(5, 3, 120, 2))
    np.testing.assert_allclose(jax.vmap(lambda z: radii(z, 5))(x), jnp.stack([radii(z, 5) for z in x]), rtol=1e-6)
