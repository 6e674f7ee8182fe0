"""Every family under every regime, on two devices: three generations, and the last one again from the checkpoint before it."""

import shutil

import jax
import numpy as np
import polars as pl
import pytest
from killing import files_in, same

import collapse_jax as cj

f, r, s = cj.families, cj.regimes, cj.sources
REGIMES = {
    "replace": r.Replace(),
    "accumulate": r.Accumulate(),
    "subsample": r.AccumulateSubsample(),
    "mix": r.Mix(0.5, 0.25, 0.25),
    "fresh": r.Fresh(8),
    "weighted": r.Weighted(0.6),
}
STEPS = {"batch": 16, "budget": f.Steps(3)}
SMALL = {"width": 16, "layers": 1, **STEPS}


def texts(folder):
    return s.Text("text_files", s.Bytes(), 16, (str(files_in(folder) / "words.txt"),), str(folder / "prepared"))


FAMILIES = {
    "gaussian": (lambda folder: s.Normal(2), f.Gaussian(2, statistics=False), "trace_ratio"),
    "gaussian, statistics": (lambda folder: s.Normal(2), f.Gaussian(2), "trace_ratio"),
    "discrete": (lambda folder: s.Zipf(12), f.Discrete(12), "entropy"),
    "mixture": (lambda folder: s.EightGaussians(), f.GaussianMixture(3, 2, iterations=20), "trace_ratio"),
    "kernel density": (lambda folder: s.TwoMoons(), f.KernelDensity(2, 0.3), "trace_ratio"),
    "regression": (lambda folder: s.LinearTask(3), f.LinearRegression(3, statistics=False), "excess_risk"),
    "regression, statistics": (lambda folder: s.LinearTask(3), f.LinearRegression(3, ridge=0.1), "excess_risk"),
    "regression, descent": (
        lambda folder: s.LinearTask(3),
        f.LinearRegression(3, solver="sgd", budget=f.Steps(5)),
        "excess_risk",
    ),
    "logistic": (lambda folder: s.LogisticTask(3), f.LogisticRegression(3, ridge=0.01), "excess_risk"),
    "n-grams": (lambda folder: s.ZipfLanguage(6, 8), f.NGram(2, 6, f.AddK(0.1)), "perplexity"),
    "transformer": (texts, f.Transformer(256, 16, 1, 16, 1, **STEPS, test_blocks=8), "perplexity"),
    "vae": (lambda folder: s.Normal(2), f.VAE("mlp", 2, "gaussian", hidden=(16,), **STEPS), "trace_ratio"),
    "vae, images": (lambda folder: s.Images("digits"), f.VAE("conv", 4, **STEPS), "trace_ratio"),
    "flow": (lambda folder: s.Normal(2), f.Flow(**SMALL, sampling_steps=3), "trace_ratio"),
    "diffusion, images": (
        lambda folder: s.Images("digits", labels=True),
        f.Diffusion(**SMALL, heads=2, patch=4, sampling_steps=3),
        "trace_ratio",
    ),
}


@pytest.fixture
def cheaply_compiled():
    """Programs that the compiler spends little time on: there are six for every family, each run three times."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.usefixtures("cheaply_compiled")
@pytest.mark.timeout(280, method="thread")  # a hang in compiled code hears no signal
@pytest.mark.parametrize("name", FAMILIES)
def test_three_generations_under_every_regime_resume_to_the_bit(name, tmp_path, tmp_path_factory):
    source, family, metric = FAMILIES[name]
    base = cj.Experiment(source(tmp_path_factory.getbasetemp()), family, r.Replace(), 24, 2, metrics=[metric])
    grid = [cj.varied(base, regime=regime, label=label) for label, regime in REGIMES.items()]
    whole = cj.run(grid, chains=2, seed=1, out=tmp_path / "whole", devices=2, stride=1, keep="all")
    rows = whole.records
    assert len(rows) == len(REGIMES) * 2 * 3 and not rows["failed"].any()
    assert np.isfinite(rows[metric].to_numpy()).all()
    # Generation 0 is one fit for all arms; later the arms differ.
    different = rows.group_by("chain", "generation").agg(pl.col(metric).n_unique()).sort("generation")[metric].to_list()
    assert different[:2] == [1, 1] and min(different[2:]) > 1

    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for group in (tmp_path / "again" / "checkpoints").iterdir():
        shutil.rmtree(group / "2")
    assert not cj.load(tmp_path / "again").finished
    same(cj.resume(tmp_path / "again", devices=2).folder, tmp_path / "whole")
    assert len(jax.devices()) >= 2
