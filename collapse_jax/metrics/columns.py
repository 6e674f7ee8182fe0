"""The record columns that families measure by themselves: what the reference page says of each.

Costs: K states, C components, d dimensions, n samples, m real ones, V vocabulary; "–" is next to nothing beside a fit.
"""

from dataclasses import dataclass

MOMENTS = "Gaussian, GaussianMixture, KernelDensity, VAE, Flow, Diffusion"
TEXT = "Transformer, NGram"


@dataclass(frozen=True)
class Column:
    """A column: its families, formula, unit and range, where collapse moves it (up, down, either), cost and source."""

    name: str
    families: str
    formula: str
    span: str
    direction: str
    cost: str
    source: str


COLUMNS = tuple(
    Column(*row)
    for row in (
        (
            "trace_ratio",
            MOMENTS,
            "tr Σ_t / tr Σ of the source, of the model where it has a covariance, else of its samples; in one dimension the variance",
            "≥ 0",
            "down",
            "–, or n d",
            "Shumailov et al. 2024",
        ),
        (
            "log_variance",
            "as trace_ratio",
            "ln trace_ratio; for Gaussian it goes on where trace_ratio underflows",
            "nats",
            "down",
            "–",
            "as trace_ratio",
        ),
        (
            "log_det_ratio",
            "Gaussian, GaussianMixture, KernelDensity",
            "ln det Σ_t - ln det Σ of the source; -∞ where samples ≤ dimensions",
            "nats",
            "down",
            "d³",
            "generalised variance, Wilks 1932",
        ),
        (
            "mean_sq_error",
            "as trace_ratio, and regressions",
            "‖μ_t - μ of the source‖²; of regressions ‖ŵ_t - w of the source‖²",
            "≥ 0",
            "up",
            "–",
            "Shumailov et al. 2024",
        ),
        (
            "w2_sq",
            "Gaussian",
            "squared 2-Wasserstein distance to the source; for dim > 1 with Gaussian(w2=True), of a standard normal by an SVD",
            "≥ 0",
            "up",
            "–, or d³",
            "Dowson & Landau 1982",
        ),
        (
            "support",
            "Discrete, NGram",
            "number of states with p_t > 0; of n-grams of the model's order that its training set had (add-k gives the others a probability too)",
            "≥ 1",
            "down",
            "K",
            "support loss, Shumailov et al. 2024",
        ),
        ("heterozygosity", "Discrete", "1 - Σ p_t²", "[0, 1)", "down", "K", "Nei 1973; Gini–Simpson"),
        (
            "tail_mass",
            "Discrete",
            "Σ p_t over the source's tail: its rarest states that together hold at most a tenth of its mass",
            "[0, 1]",
            "either",
            "K log K",
            "Shumailov et al. 2024 (early collapse)",
        ),
        (
            "tail_coverage",
            "Discrete",
            "share of the tail's states that still have p_t > 0",
            "[0, 1]",
            "down",
            "K log K",
            "as tail_mass",
        ),
        ("entropy", "Discrete", "-Σ p_t ln p_t", "nats", "down", "K", "Shannon 1948"),
        ("kl", "Discrete", "KL(p_t ‖ source) = Σ p_t ln(p_t / p_0)", "nats", "up", "K", "Kullback & Leibler 1951"),
        ("tv", "Discrete", "½ Σ |p_t - p_0|", "[0, 1]", "up", "K", "total variation"),
        ("hellinger", "Discrete", "√(½ Σ (√p_t - √p_0)²)", "[0, 1]", "up", "K", "Hellinger 1909"),
        (
            "nll",
            "KernelDensity, GaussianMixture",
            "mean of -ln p_t(x) over 512 real held-out samples; ∞ where a ball kernel reaches none of them",
            "nats",
            "up",
            "512 n d; 512 C d²",
            "held-out likelihood",
        ),
        ("nll_se", "as nll", "standard error of nll over the held-out samples", "nats", "either", "–", "own"),
        ("bandwidth", "KernelDensity", "h, as given or by rule", "> 0", "either", "–", "Scott 1992; Silverman 1986"),
        ("component_sd", "GaussianMixture", "√(Σ w_k tr S_k / d), the deviation within components", "≥ 0", "down", "C d", "own"),
        (
            "l2_sq",
            "GaussianMixture, where the source is Normal, Blobs, EightGaussians or GaussianGrid",
            "∫(p_t - p_0)² = Σ a_i a_j N(m_i - m_j; 0, S_i + S_j)",
            "≥ 0, 1/length^d",
            "up",
            "C² d³",
            "Shumailov et al. 2024, supplement",
        ),
        ("iterations", "GaussianMixture", "EM iterations of this generation's fit", "count", "either", "–", "own"),
        (
            "excess_risk",
            "LinearRegression, LogisticRegression, Discrete, Gaussian in one dimension (w2=True: in any)",
            "exact population risk less the least possible: E (x·ŵ - E[y|x])² over the source; of logistic regression E log-loss less "
            "the source's own; of Discrete KL(source ‖ p_t), ∞ once a state is lost; of Gaussian E log-loss less the best Gaussian's, "
            "which is KL(source ‖ model) of a normal source",
            "≥ 0; nats but for LinearRegression",
            "up",
            "d², or quadrature; K; d³",
            "population risk, Gerstgrasser et al. 2024; Schaeffer et al. 2025",
        ),
        ("weight_norm", "regressions", "‖ŵ‖", "≥ 0", "either", "–", "own"),
        (
            "ridge",
            "LinearRegression(adaptive=True)",
            "the ridge that generalised cross-validation chose, of 25",
            "0.001 … 1,000",
            "either",
            "25 d",
            "Golub, Heath & Wahba 1979",
        ),
        (
            "accuracy",
            "LogisticRegression",
            "share of the source's labels that the sign of x·ŵ predicts, exact",
            "[0, 1]",
            "down",
            "quadrature",
            "own",
        ),
        (
            "energy_distance",
            "Flow, Diffusion",
            "2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖, samples X against 512 real held-out Y, unbiased",
            "near 0 or above",
            "up",
            "512² d",
            "Székely & Rizzo 2013",
        ),
        (
            "class_entropy",
            "Flow, Diffusion, with labels",
            "-Σ q ln q of the classes that the samples carry",
            "nats",
            "down",
            "n",
            "Shannon 1948",
        ),
        (
            "elbo",
            "VAE",
            "mean evidence lower bound of real held-out samples, one latent draw each",
            "nats a sample",
            "down",
            "a pass over 512",
            "Kingma & Welling 2014",
        ),
        ("elbo_se", "VAE", "standard error of elbo over the held-out samples", "nats a sample", "either", "–", "own"),
        (
            "latent_spread",
            "VAE",
            "variance of the generation-0 encoder's means over this generation's samples / over real held-out samples",
            "≥ 0",
            "down",
            "two passes of the encoder",
            "Shumailov et al. 2024",
        ),
        (
            "perplexity",
            TEXT,
            "exp(total negative log-likelihood / total tokens) on blocks of the real test split",
            "≥ 1",
            "up",
            "test_blocks' likelihood",
            "Jelinek et al. 1977",
        ),
        ("perplexity_se", TEXT, "standard error of perplexity over the test blocks", "≥ 0", "either", "–", "delta method"),
        (
            "distinct_2",
            TEXT,
            "unique 2-grams / 2-grams over all generated blocks; falls with their number: compare equal budgets",
            "(0, 1]",
            "down",
            "n L log(n L)",
            "Li et al. 2016",
        ),
        (
            "rep_4",
            TEXT,
            "mean over blocks of 1 - unique 4-grams / 4-grams; seq_rep_4, asked for by name, leaves out the tokens of a kept prompt",
            "[0, 1)",
            "up",
            "n L log L",
            "Welleck et al. 2020",
        ),
        (
            "rare_words",
            f"{TEXT}, on text",
            "share of the word types that occur 2 to 8 times in the training text and are found, as whole words, in the generated blocks",
            "[0, 1]",
            "down",
            "n L log(n L)",
            "own",
        ),
        (
            "sequence_perplexity",
            "Transformer with scored=True",
            "list: perplexity of every generated block under the chain's model of generation 0, whole; 0 for an empty slot",
            "≥ 1",
            "either",
            "a pass over the generated blocks",
            "Shumailov et al. 2024",
        ),
        (
            "train_loss",
            "neural families",
            "mean loss of the last pass of this generation's fit",
            "nats a token (Transformer) or sample (VAE); squared error (Flow, Diffusion)",
            "either",
            "–",
            "own",
        ),
        (
            "validation_loss",
            "neural families",
            'lowest loss on validation data during the fit, with select="best" or patience',
            "as train_loss",
            "up",
            "evaluations × validation data",
            "own",
        ),
        ("steps", "neural families, SGD", "optimiser steps of this generation's fit", "count", "either", "–", "own"),
        (
            "kept",
            "with curation",
            "share of candidates that passed every filter; 0 means none did and the filters were set aside",
            "[0, 1]",
            "either",
            "–",
            "own",
        ),
        (
            "failed",
            "all",
            "true from the first generation on whose fit left no usable model (NaN, or degenerate) or whose samples are not all finite",
            "true, false",
            "up",
            "–",
            "own",
        ),
    )
)
