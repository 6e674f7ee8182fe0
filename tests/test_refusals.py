"""What no chain can be made of is refused when it is planned, in one line that names the field."""

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.errors import ConfigError

s, f, r = cj.sources, cj.families, cj.regimes
DIGITS = s.Images("digits", labels=True)
FLOW = {"width": 8, "layers": 1, "sampling_steps": 2, "batch": 8, "budget": f.Steps(2)}
BIAS = {"decoding": cj.decoding.SamplingBias(0.5)}
LIKELY = {"curation": (cj.curation.Likelihood(),)}
NONE, LARGE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "field, source, family, more",
    [
        ("family.likelihood", s.TwoMoons(), f.VAE(), {}),  # pixels' law on points: variance would fall for that alone
        ("family.hidden", s.Images("digits"), f.VAE(hidden=5), {}),
        ("family.hidden", s.Images("digits"), f.VAE(hidden=None), {}),
        ("family.shape", s.Images("digits"), f.VAE(shape=5), {}),
        ("family.shape", s.TwoMoons(), f.Flow(shape=5, **FLOW), {}),
        *(("family.limits", s.TwoMoons(), f.Flow(limits=x, **FLOW), {}) for x in (5, "ab", (0,), (1.0, 0.0), (NONE, 1.0))),
        ("family.unlabelled", DIGITS, f.Flow(unlabelled=0.0, **FLOW), BIAS),
        ("family.unlabelled", DIGITS, f.Diffusion(unlabelled=0.0, **FLOW), BIAS),
        *(("family.bandwidth", s.Normal(1), f.KernelDensity(1, h), {}) for h in (0, -1.0, NONE, LARGE, [[1], [1, 2]])),
        *(("family.reg_covar", s.Normal(1), f.GaussianMixture(2, 1, reg_covar=x), {}) for x in (-1.0, NONE, LARGE)),
        ("family.tol", s.Normal(1), f.GaussianMixture(2, 1, tol=LARGE), {}),
        *(("family.ridge", s.LinearTask(2), f.LinearRegression(2, ridge=x), {}) for x in (-1.0, NONE, LARGE)),
        ("family.noise", s.LinearTask(2), f.LinearRegression(2, noise=LARGE), {}),
        ("family.refits", s.LinearTask(2), f.LinearRegression(2, refits="x"), {}),
        ("family.refits", s.LinearTask(2), f.LinearRegression(2, refits=True, ridge=0.1), {}),
        ("curation", s.LinearTask(2, noise=0.0), f.LinearRegression(2), LIKELY),
        ("source.norm", s.LogisticTask(2, norm=LARGE), f.LogisticRegression(2), {}),
        ("source.block", s.ZipfLanguage(9, 3), f.NGram(1, 9), {}),  # rep_4 looks at four tokens
        ("source.folder", s.Images("mnist_idx", folder=5), f.VAE(), {}),
        ("source.data_dir", s.Images("digits", data_dir=3), f.VAE(), {}),
        ("start", s.Normal(1), f.GaussianMixture(2, 1), {"start": "previous"}),
    ],
)
def test_wrong_fields_are_named(field, source, family, more):
    with pytest.raises(ConfigError) as error:
        cj.resolve(cj.Experiment(source, family, r.Replace(), 40, 1, **more))
    assert error.value.field == field and "\n" not in str(error.value)


def test_pure_use_asks_for_what_a_run_asks_for():
    shared = s.Images("digits").load(None)
    images = cj.Experiment(s.Images("digits"), f.KernelDensity(64, 0.1), r.Replace(), 2000, 1)
    with pytest.raises(ConfigError, match="samples = 2000: at most 1437"):
        cj.initial_chain(images, shared, np.uint32(0))
    with pytest.raises(ConfigError, match="start = base"):
        cj.initial_chain(cj.varied(images, family=f.VAE(), samples=20, start="base"), shared, np.uint32(0))


@pytest.mark.parametrize(
    "name, flags", [("mad_loops", {"real": 0, "samples": 0}), ("ngram_rates", {"block": 0}), ("gaussian_nature", {"samples": ()})]
)
def test_an_experiment_file_leaves_wrong_flags_to_the_planner(name, flags):
    scope: dict = {"__name__": name}
    with open(f"{__file__.rsplit('/', 2)[0]}/experiments/{name}.py", encoding="utf-8") as file:
        exec(compile(file.read(), name, "exec"), scope)
    with pytest.raises(ConfigError):
        cj.plan(scope["main"](**flags), chains=1)
