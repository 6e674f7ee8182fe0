"""The noise of every metric of samples: its mean and standard deviation where generated and real samples are of one law.

python -m collapse_jax.metrics.noise [NAMES] prints the table `NOISE` anew (four minutes of one core), or its rows of these
names. The laws: points, 512 of a standard normal in the plane (modes: GaussianGrid; classes: four far blobs; likelihood: a
Gaussian fitted to them; frechet_pca: 64 dimensions); states, 2,048 of Zipf's law over 1,000; text, 512 sequences of 64
independent tokens of the same law, against 2,000 others as the training text, and as generation 0 that law itself.
Real samples are as many as metrics are given, 512 (`Metric.held`), and new in every pair. Bias is the mean's distance from that of
eight times as many generated and real samples; of what depends on their number by definition (distinct_n), that is no error.
"""

import math
import sys
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.data import Slots
from collapse_jax.families.gaussian import Gaussian
from collapse_jax.metrics import chosen, copies, diversity, fidelity, token_types, words
from collapse_jax.metrics.points import HELD_OUT, SAMPLED, against_source, energy_distance, moments
from collapse_jax.metrics.registry import KINDS, Metric, of_kind
from collapse_jax.metrics.tails import entropy
from collapse_jax.sources import Blobs, GaussianGrid, Normal, Zipf

Array = jax.Array
SIZE = {"points": 512, "states": chosen.MOST, "tokens": 512}
PAIRS = 400
LARGER, FEW = 8, 16  # what bias is measured against: so many times as many samples, in so many pairs
TYPES, LENGTH, TRAINING, WIDTH = 1000, 64, 2000, 16
WIDE = 64  # dimensions, for a projection
CORNERS = ((0.0, 0.0), (9.0, 0.0), (0.0, 9.0), (9.0, 9.0))


class Law:
    """The law of tokens, where a family is asked for."""

    vocabulary = TYPES

    def log_prob(self, params: Any, tokens: Array, shared: Any) -> Array:
        """Log-probability of sequences [n, L]: [n]."""
        return jnp.sum(jnp.log(Zipf(TYPES).probabilities())[tokens], axis=1)

    def sample(self, key: Array, params: Any, n: int, decoding: Any = None) -> Array:
        """n sequences, int32 [n, LENGTH]."""
        return Zipf(TYPES).draw(key, n * LENGTH, {}).reshape(n, LENGTH)

    def features(self, params: Any, tokens: Array) -> Array:
        """Means of random vectors of the tokens: [n, WIDTH]."""
        return jnp.mean(jax.random.normal(jax.random.key(0), (TYPES, WIDTH))[tokens], axis=1)


def tables(m: Metric) -> dict[str, Any]:
    """What does not change from pair to pair."""
    law = Law()
    draw = lambda key, params, n: law.sample(key, params, n)
    around: dict[str, Any] = {"family": law, "first": None, "params": Zipf(TYPES).probabilities(), "decoding": None, "draw": draw}
    around["prompt"] = 0
    text = Law().sample(jax.random.key(1), None, TRAINING)
    if "text" in m.needs:
        around["grams"] = copies.gram_tables(text)
    if "frequencies" in m.needs:
        around["rare_types"] = token_types.tail_types(text, TYPES)
    if "classes" in m.needs:
        real = np.asarray(Blobs(CORNERS, labels=True).draw(jax.random.key(1), 2000, {}))
        around["classifier"] = diversity.logistic(real[:, :-1], real[:, -1], len(CORNERS))
    around["source"] = Zipf(TYPES) if m.kind == "states" else Normal(2)
    if m.kind == "points" and "likelihood" in m.needs:
        around["family"] = Gaussian(2)
    if "axes" in m.needs:
        around["source"] = Normal(WIDE)
        around["axes"] = fidelity.projection(around["source"].draw(jax.random.key(1), chosen.MOST, {}), fidelity.COMPONENTS)
    if "modes" in m.needs:
        around["source"] = GaussianGrid()
    return around | ({"source": Blobs(CORNERS)} if "classes" in m.needs else {})


def values(m: Metric, pairs: int, seed: int = 0, times: int = 1) -> np.ndarray:
    """The metric of so many pairs of generated and real samples of one law, `times` as many as usual: [pairs]."""
    around, n = tables(m), times * SIZE[m.kind]

    def one(key: Array) -> Array:
        a, b, c, own = jax.random.split(key, 4)
        if m.kind == "tokens":
            x, y = (Law().sample(k, None, size) for k, size in ((a, n), (b, times * m.held)))
        else:
            x, y = (around["source"].draw(k, size, {}) for k, size in ((a, n), (b, times * m.held)))
        train = None if m.kind != "points" else Slots.of(around["source"].draw(c, SIZE[m.kind], {}), 0, None)
        if m.kind == "points" and "likelihood" in m.needs:
            around["params"] = around["family"].fit(a, None, Slots.of(x, 0, None), {})[0]
        extra = [around | {"train": train, "t": jnp.int32(0)}] if m.needs else []
        return jnp.asarray(m(x, jnp.ones(n), y, own, *extra), jnp.float32)

    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(m.name.encode()) & 0x7FFFFFFF)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(key, pairs)))


def own_values(name: str, pairs: int, seed: int = 0) -> np.ndarray:
    """A column that families make of their samples (`points.SAMPLED`, rare_words), of so many pairs of one law: [pairs].

    Points as above; of classes, 512 labels of four as likely; rare words of text, each token of which is a word, against 128
    sequences as the training text.
    """
    if name == "rare_words":
        text = np.asarray(Law().sample(jax.random.key(1), None, 128))
        word = [b" " + "".join(chr(97 + i // 26**j % 26) for j in range(3)).encode() for i in range(TYPES)]
        found = words.word_tables(word, b"".join(word[i] for i in text.ravel()))

    def one(key: Array) -> Array:
        a, b = jax.random.split(key)
        if name == "rare_words":
            return words.rare_words(Law().sample(a, None, SIZE["tokens"]), found)
        x, y = (jax.random.normal(k, (HELD_OUT, 2)) for k in (a, b))
        total = moments(x, jnp.ones(len(x)))
        made = against_source(*total, {"source": Normal(2)}) | {"energy_distance": energy_distance(x, y)}
        made["latent_spread"] = total[1] / moments(y, jnp.ones(len(y)))[1]
        share = jnp.bincount(jax.random.randint(a, (HELD_OUT,), 0, 4), length=4) / HELD_OUT
        return (made | {"class_entropy": entropy(share)})[name]

    keys = jax.random.split(jax.random.key(seed), pairs)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(keys))


def rounded(x: float, digits: int = 3) -> float:
    """x to so many digits."""
    return 0.0 if x == 0 or not math.isfinite(x) else round(x, digits - 1 - math.floor(math.log10(abs(x))))


def main(names: list[str]) -> None:
    """Print `NOISE`, or its rows of these names."""
    for kind in KINDS:
        print(f'    "{kind}": {{')
        for name, m in sorted(of_kind(kind).items()):
            if m.listed or (names and name not in names):
                continue
            found, many = values(m, PAIRS), values(m, FEW, times=LARGER)
            three = rounded(float(found.mean())), rounded(float(found.std()), 2), rounded(float(many.mean()))
            print(f'        "{name}": {three},', flush=True)
        print("    },")
    print("OWN:")
    for name in (name for name in (*SAMPLED, "rare_words") if not names or name in names):
        found = own_values(name, PAIRS)
        print(f'    "{name}": ({rounded(float(found.mean()))}, {rounded(float(found.std()), 2)}),', flush=True)


# Mean and standard deviation of 400 pairs: of columns that families measure by themselves, and of those on request; of these the
# mean of 8 times as many samples too.
OWN = {
    "trace_ratio": (0.996, 0.044),
    "log_variance": (-0.00458, 0.044),
    "mean_sq_error": (0.00398, 0.0038),
    "latent_spread": (1.0, 0.061),
    "class_entropy": (1.38, 0.0023),
    "energy_distance": (-0.00027, 0.0034),
    "rare_words": (0.998, 0.0017),
}
NOISE: dict[str, dict[str, tuple[float, float, float]]] = {
    "points": {
        "classifier_confidence": (0.999, 0.00021, 0.999),
        "classifier_entropy": (1.38, 0.0024, 1.39),
        "copied_share": (0.0116, 0.0069, 0.0107),
        "coverage": (0.968, 0.012, 0.97),
        "density": (1.0, 0.025, 1.0),
        "energy_distance_all": (0.000269, 0.0041, -6.5e-05),
        "excess_nll": (0.00471, 0.0055, 0.000486),
        "excess_nll_se": (0.00419, 0.0014, 0.000571),
        "frechet": (0.0142, 0.0096, 0.00152),
        "frechet_pca": (0.327, 0.039, 0.0406),
        "knn_kl": (0.000353, 0.033, -0.000884),
        "low_density_1": (1.09, 0.51, 0.962),
        "low_density_10": (0.998, 0.15, 1.0),
        "low_density_5": (1.01, 0.21, 1.02),
        "memory_ratio": (1.0, 0.053, 1.0),
        "mmd_sq": (4.52e-05, 0.0011, -2.29e-05),
        "mode_count": (25.0, 0.0, 25.0),
        "mode_entropy": (3.19, 0.0068, 3.22),
        "mode_quality": (0.989, 0.0047, 0.989),
        "mode_tv": (0.0875, 0.013, 0.03),
        "precision": (0.994, 0.0043, 0.998),
        "quantile_coverage_1": (1.0, 0.34, 1.05),
        "quantile_coverage_5": (0.987, 0.19, 0.989),
        "recall": (0.995, 0.0037, 0.998),
        "sliced_w2_sq": (0.0121, 0.0047, 0.00146),
        "vendi": (4.85, 0.22, 4.86),
        "vendi_2": (3.0, 0.13, 2.98),
    },
    "states": {
        "chao1": (857.0, 57.0, 1000.0),
        "missing_mass": (0.131, 0.0065, 0.00495),
        "tail_coverage_1": (1.0, 0.0, 1.0),
        "tail_coverage_5": (1.0, 0.0, 1.0),
        "tail_mass_1": (0.00998, 0.0, 0.00998),
        "tail_mass_5": (0.0499, 0.0, 0.0499),
        "zipf_mle": (0.946, 0.01, 1.0),
        "zipf_slope": (0.89, 0.013, 1.11),
    },
    "tokens": {
        "above_range": (0.0504, 0.014, 0.0519),
        "below_range": (0.0518, 0.014, 0.0521),
        "chao1": (1000.0, 2.1, 1000.0),
        "copied_50": (0.0, 0.0, 0.0),
        "distinct_1": (0.0305, 4.3e-05, 0.00381),
        "distinct_2": (0.547, 0.0034, 0.32),
        "distinct_3": (0.915, 0.0022, 0.804),
        "diversity": (0.976, 0.0011, 0.976),
        "entropy_1": (5.18, 0.012, 5.19),
        "entropy_2": (9.01, 0.016, 9.81),
        "entropy_3": (10.2, 0.0063, 11.9),
        "longest_repeat": (1.76, 0.026, 1.76),
        "loop_share": (6.1e-07, 1.2e-05, 0.0),
        "loop_tokens": (0.0, 0.0, 0.0),
        "looping": (0.0, 0.0, 0.0),
        "mauve": (0.962, 0.014, 0.964),
        "missing_mass": (0.000322, 9.2e-05, 0.0),
        "novel_4": (0.972, 0.0012, 0.972),
        "perplexity_q01": (97.6, 4.0, 96.5),
        "perplexity_q05": (116.0, 2.9, 116.0),
        "perplexity_q50": (179.0, 2.6, 179.0),
        "perplexity_q95": (279.0, 7.0, 279.0),
        "perplexity_q99": (332.0, 14.0, 337.0),
        "rep_2": (0.0231, 0.0011, 0.023),
        "rep_3": (0.00105, 0.0002, 0.00105),
        "rep_4": (6.74e-05, 5.2e-05, 6.9e-05),
        "repeat_over_half": (0.0, 0.0, 0.0),
        "self_bleu": (0.117, 0.0051, 0.12),
        "seq_rep_4": (6.52e-05, 5e-05, 7.4e-05),
        "tail_coverage_1": (0.992, 0.01, 1.0),
        "tail_coverage_10": (0.996, 0.0027, 1.0),
        "tail_coverage_5": (0.995, 0.0038, 1.0),
        "tail_mass_1": (0.012, 0.00062, 0.012),
        "tail_mass_10": (0.102, 0.0016, 0.102),
        "tail_mass_5": (0.0551, 0.0012, 0.055),
        "token_support": (998.0, 1.4, 1000.0),
        "type_token_ratio": (0.171, 0.00081, 0.17),
        "verbatim": (0.0, 0.0, 0.0),
        "zipf_mle": (1.0, 0.0028, 1.0),
        "zipf_slope": (1.08, 0.0095, 1.01),
    },
}

if __name__ == "__main__":
    main(sys.argv[1:])
