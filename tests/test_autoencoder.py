"""The published network to the parameter, and against PyTorch with the same weights (tests/golden/make_vae.py)."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.families import VAE

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))
from weights import SHAPES, by_formula  # noqa: E402

KEY = jax.random.key(0)
PUBLISHED = VAE("conv", 20, shape=(28, 28, 1), emit="mean")


def converted():
    """The weights of tests/golden/make_vae.py in our layout: channels last."""
    torch = {name: (by_formula(2 * i, shape), i) for i, (name, shape) in enumerate(SHAPES.items())}
    weight = {name: w for name, (w, _) in torch.items()}
    out = {"halve_1": 64, "halve_2": 128, "code_mean": 20, "code_log_variance": 20, "grow": 6272, "double_1": 64, "double_2": 1}
    bias = {name: by_formula(2 * i + 1, (out[name],)) for name, (_, i) in torch.items()}
    last = lambda flat: flat.reshape(-1, 128, 7, 7).transpose(0, 2, 3, 1).reshape(flat.shape[0], -1)
    image = lambda name: {"kernel": weight[name].transpose(2, 3, 1, 0), "bias": bias[name]}
    code = np.concatenate([last(weight["code_mean"]), last(weight["code_log_variance"])])
    return jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32),
        {
            **{name: image(name) for name in ("halve_1", "halve_2", "double_1", "double_2")},
            "code": {"kernel": code.T, "bias": np.concatenate([bias["code_mean"], bias["code_log_variance"]])},
            "grow": {"kernel": last(weight["grow"].T), "bias": last(bias["grow"][None])[0]},
        },
    )


def test_the_published_network_has_647081_parameters():
    params = PUBLISHED.init(KEY, {})
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 647_081
    assert jax.tree.structure(params) == jax.tree.structure(converted())
    # Uniform within 1/√fan-in, as PyTorch starts its layers: bound and variance.
    for name, fan in {"halve_1": 16, "halve_2": 1024, "code": 6272, "grow": 20, "double_1": 1024, "double_2": 16}.items():
        kernel = np.asarray(params[name]["kernel"])
        assert np.abs(kernel).max() <= fan**-0.5
        assert abs(kernel.var() * 3 * fan - 1) < 4 * np.sqrt(0.8 / kernel.size), name
        assert 0 < np.abs(params[name]["bias"]).max() <= fan**-0.5


def test_encoder_decoder_loss_and_gradients_are_those_of_pytorch():
    golden = json.loads((GOLDEN / "vae.json").read_text(encoding="utf-8"))
    params = converted()
    pixels = 0.5 + 0.5 * np.sin(by_formula(100, (2, 784)) * 100)
    x, z = jnp.asarray(pixels, jnp.float32), jnp.asarray(20 * by_formula(101, (2, 20)), jnp.float32)
    noise = jnp.asarray(20 * by_formula(102, (2, 20)), jnp.float32)
    net = PUBLISHED.network(params)
    mean, log_variance = net.encode(x)
    # Sums of up to 6,272 float32 products of order 1e-3: absolute errors of a few 1e-6.
    np.testing.assert_allclose(mean, golden["mean"], atol=2e-5)
    np.testing.assert_allclose(log_variance, golden["log_variance"], atol=2e-5)
    np.testing.assert_allclose(jax.nn.sigmoid(net.decode(z))[:, ::13], golden["decoded"], atol=2e-5)

    def loss(params):
        net = PUBLISHED.network(params)
        mean, log_variance = net.encode(x)
        divergence = -0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance))
        return divergence - jnp.sum(PUBLISHED.likelihoods(net, mean + jnp.exp(0.5 * log_variance) * noise, x))

    value, slope = jax.jit(jax.value_and_grad(loss))(params)
    np.testing.assert_allclose(value, golden["loss"], rtol=1e-5)
    slope["code_mean"] = {"kernel": slope["code"]["kernel"][:, :20], "bias": slope["code"]["bias"][:20]}
    slope["code_log_variance"] = {"kernel": slope["code"]["kernel"][:, 20:], "bias": slope["code"]["bias"][20:]}
    for name, expected in golden["gradient_norms"].items():
        layer, kind = name.split(".")
        found = jnp.linalg.norm(slope[layer]["kernel" if kind == "weight" else "bias"])
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)


def test_its_samples_are_pixels():
    params, family = PUBLISHED.init(KEY, {}), PUBLISHED
    z = family.sample(KEY, params, 40)
    assert z.shape == (40, 784) and 0 <= float(z.min()) and float(z.max()) <= 1
