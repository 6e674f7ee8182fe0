"""Small symmetric systems in plain arithmetic against NumPy's LAPACK, written out and as a loop, one and many at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.families.algebra import cholesky, log_det, solve


@pytest.mark.parametrize("d", [1, 2, 5, 12, 13, 40])
def test_factors_solutions_and_determinants_are_those_of_lapack(d):
    rng = np.random.default_rng(d)
    rows = rng.normal(size=(3, 4 * d, d))
    a, b = np.swapaxes(rows, 1, 2) @ rows / (4 * d), rng.normal(size=(3, d))
    found = jax.jit(jax.vmap(lambda a, b: (cholesky(a), solve(a, b), log_det(a))))(jnp.asarray(a), jnp.asarray(b))
    # Float32: the condition of a is below (1 + 1/2)² / (1 - 1/2)² times a little, d steps of 6e-8 each.
    tolerance = 30 * d * 6e-8
    np.testing.assert_allclose(found[0], np.linalg.cholesky(a), atol=tolerance)
    np.testing.assert_allclose(found[1], np.linalg.solve(a, b[..., None])[..., 0], atol=10 * tolerance)
    np.testing.assert_allclose(found[2], np.linalg.slogdet(a)[1], atol=d * tolerance)


def test_what_is_not_positive_definite_is_nan():
    assert np.isnan(cholesky(jnp.asarray([[1.0, 2.0], [2.0, 1.0]]))).any()
    assert np.isnan(cholesky(jnp.zeros((2, 2)))).any()


def test_a_system_that_is_not_positive_definite_has_no_solution():
    for d in (2, 5):
        a = jnp.diag(jnp.arange(d) - 0.5)
        assert np.isnan(solve(a, jnp.ones(d))).any()
        assert np.isnan(solve(jnp.zeros((d, d)), jnp.ones(d))).any()
