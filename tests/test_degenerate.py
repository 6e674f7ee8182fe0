"""Every registered metric on what is hardly a sample: nothing, one, all equal, not finite, no row at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.metrics import chosen, copies, diversity, fidelity, ngrams, tails, text, token_types
from collapse_jax.metrics.neighbours import nearest_squares, radii
from collapse_jax.metrics.registry import KINDS, REGISTERED, of_kind
from collapse_jax.metrics.sequences import perplexity_quantiles

pytestmark = pytest.mark.usefixtures("lightly")

N, BLOCK = 64, 80  # a block holds the 50-token stretches that are looked for
KEY = jax.random.key(0)
METRICS = [(kind, name) for kind in KINDS for name in sorted(chosen.of_kind(kind))]
POINTS = sorted(of_kind("points"))
DISTANCES = ("sliced_w2_sq", "mmd_sq", "energy_distance_all", "knn_kl", "frechet", "frechet_pca")  # infinite: they cannot be told
COUNTED = ("precision", "density", "copied_share", "mode_quality", "low_density_1", "low_density_5", "low_density_10")


@pytest.fixture(scope="module")
def around():
    """Real samples by kind, and what its metrics may need besides."""
    source, states = cj.sources.EightGaussians(), cj.sources.Zipf(20)
    y, labels = source.draw(KEY, N, {}), np.arange(N) % 2
    classifier = diversity.logistic(np.asarray(y) + labels[:, None], labels, 2)
    text = jnp.asarray(np.random.default_rng(0).integers(0, 11, (N, BLOCK)), jnp.int32)
    gaussian = cj.families.Gaussian(2)
    points = {"source": source, "train": Slots.of(source.draw(jax.random.key(1), N, {}), 0), "classifier": classifier}
    points |= {"family": gaussian, "params": gaussian.init(KEY, {}), "axes": fidelity.projection(y, 1)}
    family = cj.families.Transformer(vocabulary=11, block=BLOCK, layers=1, width=8, heads=2)
    model = {"family": family, "first": family.init(KEY, {}), "draw": family.sample, "grams": copies.gram_tables(text)}
    model |= {"prompt": 4, "rare_types": token_types.tail_types(text, 11, (0.2, 0.3, 0.4))}
    return {
        "points": (y, points),
        "states": (states.draw(KEY, N, {}), {"source": states, "params": states.probabilities()}),
        "tokens": (text, model),
    }


def value(kind, name, around, change=lambda x: x, weight=None):
    """The metric of other samples of the source (here: the real ones the other way round), changed."""
    m = REGISTERED[kind, name]
    y, more = around[kind]
    x = change(y[::-1])
    weight = jnp.ones(len(x)) if weight is None else jnp.asarray(weight, jnp.float32)
    return np.asarray(m(x, weight, y, KEY, *([more] if m.needs else [])))


@pytest.mark.parametrize(("kind", "name"), METRICS)
def test_nothing_one_or_equal_samples_have_a_value_and_no_row_at_all_is_refused(kind, name, around):
    nothing, one = value(kind, name, around, weight=np.zeros(N)), value(kind, name, around, weight=np.arange(N) == 3)
    equal = value(kind, name, around, lambda x: jnp.broadcast_to(x[:1], x.shape))
    assert not np.isnan([nothing, one, equal]).any()
    assert name not in DISTANCES or nothing == np.inf
    with pytest.raises(ValueError, match=r"x: 0 samples, expected at least 1"):
        value(kind, name, around, lambda x: x[:0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", POINTS)
def test_samples_that_are_not_finite_are_far_from_all_or_left_out(name, bad, around):
    broken, rest = (
        value("points", name, around, lambda x: x.at[5, 0].set(bad)),
        value("points", name, around, weight=np.arange(N) != 5),
    )
    if name in DISTANCES:
        assert broken == np.inf
    elif name == "mode_histogram":  # they are at no mode
        assert broken == pytest.approx(np.append(rest[:-1], rest[-1] + 1 / (N - 1)) * (N - 1) / N, rel=1e-5)
    elif name in COUNTED:
        assert broken == pytest.approx(rest * (N - 1) / N, rel=1e-5)
    else:
        assert broken == pytest.approx(rest, rel=1e-5)
    none = value("points", name, around, lambda x: jnp.full_like(x, bad))
    assert not np.isnan(none).any()
    of_the_model = {m: rest for m in ("excess_nll", "excess_nll_se") if m == name}
    good = (
        {"mode_tv": 1.0, "memory_ratio": np.inf, "mode_histogram": np.append(np.zeros(8), 1)}
        | of_the_model
        | dict.fromkeys(DISTANCES, np.inf)
    )
    assert np.all(none == good.get(name, 0.0))  # never what a good model would have


@pytest.mark.parametrize("dim", [2, 20])
@pytest.mark.parametrize("n", [24, 100])
def test_one_sample_that_is_not_finite_spoils_no_other_s_neighbours(n, dim):
    x, y = jax.random.normal(jax.random.key(2), (2, n, dim))
    broken, weight = x.at[5, 0].set(jnp.nan), jnp.ones(n)
    rest = jnp.arange(n) != 5
    recall = REGISTERED["points", "recall"]
    assert float(recall(broken, weight, y, KEY)) == float(recall(x, 1.0 * rest, y, KEY)) > 0.5
    assert np.allclose(nearest_squares(broken, y, 3, weight), nearest_squares(x, y, 3, 1.0 * rest), rtol=1e-4, atol=1e-4)
    assert np.allclose(radii(broken, 3, weight)[rest], radii(x, 3, 1.0 * rest)[rest], rtol=1e-4, atol=1e-4)
    assert radii(broken, 3, weight)[5] == -1 and np.isinf(nearest_squares(y, broken, 1)[0, 5])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize(("kind", "name"), METRICS)
def test_a_weight_that_is_no_finite_number_above_0_says_that_its_sample_is_not_there(kind, name, bad, around):
    weight = np.ones(N)
    weight[5] = bad
    expected = value(kind, name, around, weight=np.arange(N) != 5)
    np.testing.assert_allclose(value(kind, name, around, weight=weight), expected, rtol=1e-6)


def test_functions_of_their_own_have_a_value_or_refuse_too():
    x, y, weight = jax.random.normal(KEY, (8, 2)), jax.random.normal(jax.random.key(1), (8, 2)), jnp.ones(8)
    assert fidelity.manifold(x, weight.at[3].set(jnp.nan), y)["precision"] <= 1
    for nothing in (lambda: text.perplexity(jnp.zeros(0), 0), lambda: text.perplexities(jnp.zeros(0), 4)):
        with pytest.raises(ValueError, match="nll: 0 samples"):
            nothing()
    assert all(np.isinf(float(found)) for found in text.perplexities(jnp.asarray([1.0, jnp.nan]), 3).values())
    none = jnp.zeros((0, 4), jnp.int32)
    for refused in (lambda: ngrams.ngram_entropy(none, 2, jnp.zeros(0)), lambda: ngrams.type_token_ratio(none, jnp.zeros(0))):
        with pytest.raises(ValueError, match="tokens: 0 samples"):
            refused()
    lost = {name: float(found) for name, found in tails.tails(jnp.full(3, jnp.nan), jnp.asarray([0.5, 0.45, 0.05])).items()}
    worst = {"kl": np.inf, "excess_risk": np.inf, "tv": 1, "hellinger": 1}
    assert lost == dict.fromkeys(("support", "heterozygosity", "tail_mass", "tail_coverage", "entropy"), 0.0) | worst


def test_a_sequence_without_a_likelihood_is_of_infinite_perplexity():
    losses = jnp.where(jnp.arange(100)[:, None] == 7, jnp.nan, 1.0 + jnp.arange(100)[:, None] / 100)
    found = perplexity_quantiles(losses, jnp.ones(100))
    assert found["perplexity_q50"] == np.exp(np.float32(1.5)) and not any(np.isnan(float(x)) for x in found.values())
    assert np.isinf(perplexity_quantiles(losses, jnp.ones(100).at[7].set(3))["perplexity_q99"])
