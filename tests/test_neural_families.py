"""Every neural family under every regime: see tests/matrix.py."""

import pytest
from killing import files_in
from matrix import runs_and_resumes

import collapse_jax as cj

f, s = cj.families, cj.sources
STEPS = {"batch": 16, "budget": f.Steps(3)}
SMALL = {"width": 16, "layers": 1, "sampling_steps": 3, **STEPS}


def texts(folder):
    return s.Text("text_files", s.Bytes(), 16, (str(files_in(folder) / "words.txt"),), str(folder / "prepared"))


FAMILIES = {
    "transformer": (texts, f.Transformer(256, 16, 1, 16, 1, **STEPS, test_blocks=8), "perplexity"),
    "vae": (lambda folder: s.Images("digits"), f.VAE("conv", 4, **STEPS), "train_loss"),
    "flow": (lambda folder: s.TwoMoons(), f.Flow(**SMALL), "train_loss"),
    "diffusion": (lambda folder: s.Images("digits", labels=True), f.Diffusion(**SMALL, heads=2, patch=4), "train_loss"),
}


@pytest.mark.timeout(580, method="thread")  # a hang in compiled code hears no signal
@pytest.mark.parametrize("name", FAMILIES)
def test_three_generations_under_every_regime_resume_to_the_bit(name, tmp_path, tmp_path_factory):
    source, family, metric = FAMILIES[name]
    runs_and_resumes(source(tmp_path_factory.getbasetemp()), family, metric, tmp_path)
