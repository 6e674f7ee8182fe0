"""Population risk: exact where the source is known, else on held-out real samples with its standard error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families.gaussian import GaussianParams
from collapse_jax.families.moments import Factor
from collapse_jax.metrics.points import held_out
from collapse_jax.metrics.risk import excess_nll
from collapse_jax.metrics.tails import tails

KEY = jax.random.key(0)
f, s, r = cj.families, cj.sources, cj.regimes


def model(mean, covariance):
    return GaussianParams(jnp.asarray(mean, float), Factor.of(jnp.asarray(np.linalg.cholesky(covariance), float)))


def kl(mean_0, cov_0, mean, cov):
    """KL(N(mean_0, cov_0) ‖ N(mean, cov)) as textbooks have it, float64."""
    inverse, apart = np.linalg.inv(cov), np.subtract(mean, mean_0)
    logs = np.linalg.slogdet(cov)[1] - np.linalg.slogdet(cov_0)[1]
    return 0.5 * (np.trace(inverse @ cov_0) + apart @ inverse @ apart - len(mean_0) + logs)


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("size", [0.01, 1.0])
def test_a_gaussian_s_excess_risk_is_the_divergence_from_the_source(dim, size):
    rng = np.random.default_rng(dim)
    a = np.eye(dim) + size * rng.normal(size=(dim, dim))
    mean, covariance = size * rng.normal(size=dim), a @ a.T
    found = f.Gaussian(dim, w2=True).measure(KEY, model(mean, covariance), None, {"source": s.Normal(dim)})["excess_risk"]
    assert float(found) == pytest.approx(kl(np.zeros(dim), np.eye(dim), mean, covariance), rel=2e-4, abs=2e-7 * dim)
    # By hand: N(1, 4) has ½ (1/4 + 1/4 - 1 + ln 4).
    hand = f.Gaussian(1).measure(KEY, model([1.0], np.array([[4.0]])), None, {"source": s.Normal(1)})["excess_risk"]
    assert float(hand) == pytest.approx(0.5 * (np.log(4) - 0.5), rel=1e-6)


def test_of_another_source_it_is_the_loss_over_it_less_the_best_gaussian_s():
    source = s.EightGaussians()
    x = np.asarray(source.draw(KEY, 200_000, {}), np.float64)
    mean, covariance = np.array([0.3, -0.2]), np.array([[2.0, 0.4], [0.4, 1.0]])
    best = stats.multivariate_normal(np.asarray(source.mean({})), np.asarray(source.covariance({})))
    losses = best.logpdf(x) - stats.multivariate_normal(mean, covariance).logpdf(x)
    found = f.Gaussian(2, w2=True).measure(KEY, model(mean, covariance), None, {"source": source})["excess_risk"]
    assert abs(float(found) - losses.mean()) < 4 * losses.std() / np.sqrt(len(x)) and losses.mean() > 0.1


@pytest.mark.parametrize("dim", [1, 2])
def test_a_singular_gaussian_has_infinite_risk_and_fits_have_what_their_parameters_cost(dim):
    flat = GaussianParams(jnp.zeros(dim), Factor.of(jnp.diag(jnp.arange(dim) * 1.0)))
    assert np.isinf(f.Gaussian(dim, w2=True).measure(KEY, flat, None, {"source": s.Normal(dim)})["excess_risk"])
    family, chains, m = f.Gaussian(dim, w2=True), 4000, 200

    def one(key):
        params = family.fit(key, None, Slots.of(jax.random.normal(key, (m, dim)), 0), {})[0]
        return family.measure(key, params, None, {"source": s.Normal(dim)})["excess_risk"]

    found = np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(KEY, chains)))
    expected = (dim + dim * (dim + 1) / 2) / (2 * m)  # to first order in 1/M; the next is below 3 d / M of it
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(chains) + 3 * dim / m * expected


def test_a_discrete_model_s_risk_is_its_divergence_and_infinite_once_a_state_is_lost():
    rng = np.random.default_rng(0)
    p, p0 = rng.dirichlet(np.ones(30), 2).astype(np.float32)
    p0[3] = 0  # a state the source has not costs the model nothing but its mass
    found = float(tails(jnp.asarray(p), jnp.asarray(p0 / p0.sum()))["excess_risk"])
    assert found == pytest.approx(stats.entropy(p0.astype(np.float64), p.astype(np.float64)), rel=1e-4)
    p[7] = 0
    assert np.isinf(tails(jnp.asarray(p / p.sum()), jnp.asarray(p0 / p0.sum()))["excess_risk"])


def test_held_out_excess_is_numpys_mean_with_its_error_and_never_nan():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=(2, 100)).astype(np.float32)
    found = excess_nll(jnp.asarray(ours), jnp.asarray(theirs))
    apart = (theirs - ours).astype(np.float64)
    assert float(found["excess_nll"]) == pytest.approx(apart.mean(), abs=1e-6)
    assert float(found["excess_nll_se"]) == pytest.approx(apart.std(ddof=1) / 10, rel=1e-5)
    for bad in (-np.inf, np.nan):
        assert all(np.isinf(float(x)) for x in excess_nll(jnp.asarray(ours).at[3].set(bad), jnp.asarray(theirs)).values())


def test_any_model_with_a_density_has_it_on_request_and_it_is_told_with_the_right_error(tmp_path):
    names = ["excess_nll", "excess_nll_se"]
    grid = [
        cj.Experiment(s.Normal(2), f.Gaussian(2, statistics=False), r.Replace(), 64, 2, metrics=[*names, "trace_ratio"]),
        cj.Experiment(s.EightGaussians(), f.KernelDensity(2, 0.2), r.Replace(), 64, 2, metrics=[*names, "nll", "nll_se"]),
    ]
    run = cj.run(grid, chains=64, seed=0, out=tmp_path / "run")
    rows = run.records.filter(run.records["experiment"] == 0)
    first = rows.filter(rows["generation"] == 0)["excess_nll"].to_numpy()
    last = rows.filter(rows["generation"] == 2)["excess_nll"].to_numpy()
    # All chains share the held-out samples, whose own deviation from the law is one draw: 5/2M by two standard errors of one.
    assert abs(first.mean() - 5 / 128) < 4 * first.std() / 8 + 2 * rows["excess_nll_se"].mean() and last.mean() > 2 * first.mean()
    rows = run.records.filter(run.records["experiment"] == 1)
    assert (rows["excess_nll"].to_numpy() > 0).all()
    y = held_out({"source": s.EightGaussians()})
    own = -float(jnp.mean(s.EightGaussians().log_prob(y, {})))
    assert np.allclose(rows["nll"].to_numpy() - own, rows["excess_nll"].to_numpy(), atol=1e-4)
    params = run.params(1, generation=2, chain=5)
    losses = -np.asarray(grid[1].family.log_prob(params, y, {}), np.float64)
    row = rows.filter((rows["chain"] == 5) & (rows["generation"] == 2))
    assert row["nll"][0] == pytest.approx(losses.mean(), rel=1e-5)
    assert row["nll_se"][0] == pytest.approx(losses.std(ddof=1) / np.sqrt(len(y)), rel=1e-4)


def test_the_profile_reads_the_first_risk_that_is_finite():
    from collapse_jax.profile import profiled

    steps = np.linspace(1, 4, 10) * np.ones((20, 1))
    assert profiled({"excess_risk": np.where(steps > 3, np.inf, steps), "kl": steps}).verdicts[0].metric == "kl"
    assert profiled({"excess_risk": steps, "kl": steps}).verdicts[0].metric == "excess_risk"
    infinite = profiled({"excess_risk": np.where(steps > 3, np.inf, steps)}).verdicts[0]
    assert infinite.metric == "excess_risk" and infinite.verdict == "undecided"
