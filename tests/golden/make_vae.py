"""Makes vae.json: the published MNIST autoencoder in PyTorch, with weights by formula. Run: python tests/golden/make_vae.py (needs torch)."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from weights import SHAPES, by_formula


class Autoencoder(nn.Module):
    """Nature 2024: 1 -> 64 -> 128 (kernel 4, stride 2, padding 1), latent 20, mirrored."""

    def __init__(self):
        super().__init__()
        self.halve_1, self.halve_2 = nn.Conv2d(1, 64, 4, 2, 1), nn.Conv2d(64, 128, 4, 2, 1)
        self.code_mean, self.code_log_variance = nn.Linear(6272, 20), nn.Linear(6272, 20)
        self.grow = nn.Linear(20, 6272)
        self.double_1, self.double_2 = nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ConvTranspose2d(64, 1, 4, 2, 1)

    def encode(self, x):
        h = functional.relu(self.halve_2(functional.relu(self.halve_1(x)))).flatten(1)
        return self.code_mean(h), self.code_log_variance(h)

    def decode(self, z):
        return self.double_2(functional.relu(self.double_1(self.grow(z).view(-1, 128, 7, 7))))


def main() -> None:
    torch.set_default_dtype(torch.float64)
    net = Autoencoder()
    with torch.no_grad():
        for place, (name, shape) in enumerate(SHAPES.items()):
            layer = getattr(net, name)
            assert tuple(layer.weight.shape) == shape
            layer.weight.copy_(torch.from_numpy(by_formula(2 * place, shape)))
            layer.bias.copy_(torch.from_numpy(by_formula(2 * place + 1, tuple(layer.bias.shape))))
    x = torch.from_numpy(0.5 + 0.5 * np.sin(by_formula(100, (2, 1, 28, 28)) * 100)).requires_grad_(False)
    z = torch.from_numpy(20 * by_formula(101, (2, 20)))
    mean, log_variance = net.encode(x)
    logits = net.decode(z)
    divergence = -0.5 * torch.sum(1 + log_variance - mean**2 - log_variance.exp())
    noise = torch.from_numpy(20 * by_formula(102, (2, 20)))
    out = net.decode(mean + torch.exp(0.5 * log_variance) * noise)
    loss = functional.binary_cross_entropy_with_logits(out, x, reduction="sum") + divergence
    loss.backward()
    golden = {
        "parameters": sum(p.numel() for p in net.parameters()),
        "mean": mean.tolist(),
        "log_variance": log_variance.tolist(),
        "decoded": torch.sigmoid(logits).flatten(1)[:, ::13].tolist(),
        "loss": loss.item(),
        "gradient_norms": {
            f"{n}.{kind}": getattr(getattr(net, n), kind).grad.norm().item() for n in SHAPES for kind in ("weight", "bias")
        },
    }
    (Path(__file__).parent / "vae.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
