"""n-gram models against NLTK's, their sampling law, recovery of a language they contain, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nltk.lm import MLE, Lidstone, WittenBellInterpolated
from nltk.util import ngrams, pad_sequence
from scipy import stats

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families import AddK, JelinekMercer, NGram, WittenBell
from collapse_jax.struct import replace

KEY = jax.random.key(0)
V, BLOCK = 7, 9


def tokens(n=20, seed=0, most=V - 1):
    """Blocks that leave the last token, and many contexts, unseen."""
    return np.random.default_rng(seed).integers(0, most, (n, BLOCK)) // 2 * 2 % most


def fitted(family, samples, weight=None):
    train = Slots(jnp.asarray(samples), jnp.ones(len(samples)) if weight is None else jnp.asarray(weight), None)
    return family.fit(KEY, family.init(KEY, {}), train, {})[0]


def of_nltk(model, order):
    """NLTK's model of the same blocks, counted with left padding and without an end symbol."""
    text = [
        gram
        for block in tokens().astype(str).tolist()
        for m in range(1, order + 1)
        for gram in list(ngrams(pad_sequence(block, m, pad_left=True, left_pad_symbol=str(V)), m))
    ]
    model.fit([text], vocabulary_text=[str(token) for token in range(V + 1)])
    return model


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", ["mle", "add-k", "witten-bell"])
def test_probabilities_are_those_of_nltk(order, name):
    peers = {"mle": MLE(order), "add-k": Lidstone(0.3, order), "witten-bell": WittenBellInterpolated(order)}
    smoothing = {"mle": AddK(0.0), "add-k": AddK(0.3), "witten-bell": WittenBell()}[name]
    family = NGram(order, V, smoothing, BLOCK)
    p = np.asarray(family.conditional(fitted(family, tokens())))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    peer = of_nltk(peers[name], order)
    # NLTK's vocabulary has the start symbol and an unknown word more, which share in Lidstone's smoothing.
    more = 2 if name == "add-k" else 0
    contexts = np.ndindex(*[V + 1] * (order - 1))
    for context in list(contexts):
        words = tuple(map(str, context))
        number = sum(token * (V + 1) ** i for i, token in enumerate(reversed(context)))
        seen = peer.counts[words].N() if order > 1 else peer.counts.unigrams.N()
        if not seen and name == "mle":
            np.testing.assert_allclose(p[number], 1 / V, rtol=1e-6)  # NLTK has no answer, ours is uniform
            continue
        if not seen and name == "witten-bell":
            continue  # NLTK's answer for an unseen context is the shorter one's times a rest of 0/0; tested below
        theirs = np.asarray([peer.score(str(token), words) for token in range(V)])
        theirs *= (seen + 0.3 * (V + more)) / (seen + 0.3 * V) if more else 1
        np.testing.assert_allclose(p[number], theirs, rtol=2e-5, atol=1e-7, err_msg=str(context))


def test_an_unseen_context_has_the_probabilities_of_the_shorter_one():
    family, one = NGram(3, V, WittenBell(), BLOCK), NGram(2, V, WittenBell(), BLOCK)
    p, shorter = (np.asarray(f.conditional(fitted(f, tokens()))) for f in (family, one))
    # Token 6 never occurs, so neither (6, 0) nor (6,) was seen.
    np.testing.assert_allclose(p[6 * (V + 1) + 0], shorter[0], rtol=1e-6)
    np.testing.assert_allclose(shorter[6], np.bincount(tokens().ravel(), minlength=V) / tokens().size, rtol=1e-5)


def test_a_weight_is_a_repetition_and_weight_zero_an_empty_slot():
    family = NGram(2, V, AddK(0.1), BLOCK)
    some = tokens(3)
    weighted = fitted(family, some, [2.0, 0.0, 1.0])
    np.testing.assert_array_equal(weighted, fitted(family, some[[0, 0, 2]]))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_samples_follow_the_conditional_probabilities(order):
    family = NGram(order, V, AddK(0.05), BLOCK)
    params = fitted(family, tokens())
    n = 20_000
    drawn = jax.jit(lambda key: family.sample(key, params, n))(KEY)
    counts, p = np.asarray(fitted(family, drawn)), np.asarray(family.conditional(params))
    reached = counts.sum(axis=1) > 500
    assert reached.sum() >= 2 ** (order - 1)
    for row, probabilities in zip(counts[reached], p[reached], strict=True):
        assert stats.chisquare(row, row.sum() * probabilities / probabilities.sum()).pvalue > 1e-5
    # log_prob is the sum over the block of what they were drawn from.
    context = np.asarray(family.before(drawn[:5]))
    by_hand = np.log(p[context, np.asarray(drawn[:5])]).sum(axis=1)
    np.testing.assert_allclose(family.log_prob(params, drawn[:5], {}), by_hand, rtol=1e-5)


def test_rare_tokens_keep_their_probability_and_no_counts_are_a_failure():
    """Half a unit of the running sum, 2^-32 each, for 2^16 tokens: together 2^-16 of the mass, none by itself."""
    v = 2**16
    family = NGram(1, v + 1, AddK(0.0), 8)
    counts = jnp.full((1, v + 1), 2.0**-32).at[0, 0].set(1.0)
    n = 2**19
    drawn = np.asarray(jax.jit(lambda key: family.sample(key, counts, n))(KEY))
    expected = n * 8 * 2.0**-16
    assert abs((drawn > 0).sum() - expected) < 4 * np.sqrt(expected)
    assert bool(family.failed(0 * counts)) and not bool(family.failed(counts)) and bool(family.failed(counts * jnp.nan))


def test_decoding_and_prompts():
    family = NGram(2, V, AddK(0.5), BLOCK)
    params, prompts = fitted(family, tokens()), jnp.asarray([[1, 2], [3, 0]])
    p = np.asarray(family.conditional(params))
    begun = np.asarray(family.sample(KEY, params, 2, None, prompts))
    np.testing.assert_array_equal(begun[:, :2], prompts)
    likeliest = np.asarray(family.sample(KEY, params, 50, cj.decoding.Ancestral(temperature=1e-6, repetition_penalty=None)))
    for row in likeliest:
        assert all(p[a, b] >= p[a].max() - 1e-6 for a, b in zip(row[:-1], row[1:]))
    few = np.asarray(family.sample(KEY, params, 500, cj.decoding.Ancestral(top_k=2, repetition_penalty=None)))
    best = np.argsort(-p, axis=1)[:, :2]
    ties = np.sort(p, axis=1)[:, -2:-1]
    assert all(b in best[a] or p[a, b] >= ties[a] for row in few for a, b in zip(row[:-1], row[1:]))


def test_a_language_is_recovered_and_the_divergence_falls_as_one_over_the_samples():
    """KL(source ‖ maximum likelihood, k small) per token is about (free parameters) / (2 tokens): ×1/8 for 8 times the blocks."""
    source = cj.sources.ZipfLanguage(8, 20, a=1.0, b=2.7, order=2, seed=3)
    shared = source.load(None)
    family = NGram(2, 8, AddK(0.01), 20)
    test = source.draw(jax.random.key(9), 4000, shared)

    @jax.jit
    def excess(key, count):
        train = Slots.of(source.draw(key, 1024, shared), 0, count=count)
        params = family.fit(KEY, family.init(KEY, {}), train, shared)[0]
        return jnp.mean(source.log_prob(test, shared) - family.log_prob(params, test, shared)) / 20

    keys = jax.random.split(KEY, 40)
    means, errors = [], []
    for count in (128, 1024):
        values = np.asarray(jax.lax.map(lambda key, count=count: excess(key, count), keys))
        means.append(values.mean())
        errors.append(values.std(ddof=1) / np.sqrt(len(keys)))
        expected = 8 * 7 / (2 * 20 * count)
        assert abs(means[-1] / expected - 1) < 0.1 + 4 * errors[-1] / expected, (count, means, expected)


def test_a_chain_loses_support_and_records_what_it_should():
    source = cj.sources.ZipfLanguage(20, 16)
    e = cj.resolve(cj.Experiment(source, NGram(2, 20), cj.regimes.Replace(), 50, 6))
    shared = source.load(None)
    step, chain, support = jax.jit(lambda chain, t: cj.advance(e, shared, chain, t)), cj.initial_chain(e, shared, KEY), []
    for t in range(7):
        chain, record = step(chain, t)
        support.append(float(record["support"]))
    assert {"perplexity", "perplexity_se", "support", "distinct_2", "rep_4", "failed"} == set(record)
    assert support[0] > 1.2 * support[-1] and all(a >= b for a, b in zip(support, support[1:]))


@pytest.mark.parametrize(
    "change, field",
    [
        ({"order": 0}, "family.order"),
        ({"order": 7}, "family.order"),
        ({"order": 10**9}, "family.order"),
        ({"vocabulary": 21}, "family.vocabulary"),
        ({"block": 8}, "family.block"),
        ({"smoothing": 0.5}, "family.smoothing"),
        ({"smoothing": AddK(-1.0)}, "family.smoothing.k"),
        ({"smoothing": JelinekMercer((0.5, 0.5))}, "family.smoothing.weights"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, field):
    good = cj.Experiment(cj.sources.ZipfLanguage(20, 16), NGram(2, 20), cj.regimes.Replace(), 50, 6)
    cj.resolve(good)
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.varied(good, family=replace(good.family, **change)))
    assert error.value.field == field
    for decoding in (cj.decoding.Greedy(), cj.decoding.Ancestral(repetition_penalty=1.3)):
        with pytest.raises(cj.ConfigError, match="decoding"):
            cj.resolve(cj.varied(good, decoding=decoding))
    with pytest.raises(cj.ConfigError, match="family.vocabulary"):
        cj.resolve(cj.varied(good, source=cj.sources.Normal(2)))
