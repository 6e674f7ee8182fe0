"""PyTorch's side: the tiny transformer (training eager, sampling by transformers with its cache), and the published VAE's step."""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, WIDTH, LAYERS, HEADS, BLOCK, BATCH = 1024, 64, 2, 2, 64, 32


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, length, _ = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(b, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, length, WIDTH)
        x = x + self.out(mixed)
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY + 1, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.layers, self.norm = nn.ModuleList([Layer() for _ in range(LAYERS)]), nn.LayerNorm(WIDTH)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x) @ self.tokens.weight[:-1].T


def train(steps: int) -> float:
    """Tokens a second of AdamW steps on batches of 32 blocks of 64."""
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    data = torch.randint(0, VOCABULARY, (1024, BLOCK))
    start_token = torch.full((BATCH, 1), VOCABULARY)

    def step(i: int) -> None:
        batch = data[torch.randint(0, len(data), (BATCH,))]
        logits = model(torch.cat([start_token, batch[:, :-1]], dim=1))
        loss = F.cross_entropy(logits.view(-1, VOCABULARY), batch.reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    for i in range(5):
        step(i)
    start = time.perf_counter()
    for i in range(steps):
        step(i)
    return steps * BATCH * BLOCK / (time.perf_counter() - start)


def sample(batches: int) -> float:
    """Tokens a second of transformers' generate: batch 512, 64 tokens, temperature 1, with its cache."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY + 1, n_positions=BLOCK + 1, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, bos_token_id=VOCABULARY
    )
    model = GPT2LMHeadModel(config).eval()
    prompt = torch.full((512, 1), VOCABULARY)
    arguments = {"max_new_tokens": 64, "min_new_tokens": 64, "do_sample": True, "temperature": 1.0, "top_k": 0, "use_cache": True}
    arguments |= {"pad_token_id": VOCABULARY, "attention_mask": torch.ones_like(prompt)}
    with torch.no_grad():
        model.generate(prompt, **arguments)
        start = time.perf_counter()
        for _ in range(batches):
            out = model.generate(prompt, **arguments)
        assert out.shape[1] == 65
    return batches * 512 * 64 / (time.perf_counter() - start)


class Autoencoder(nn.Module):
    """Nature 2024's MNIST network: 647,081 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.halve_1, self.halve_2 = nn.Conv2d(1, 64, 4, 2, 1), nn.Conv2d(64, 128, 4, 2, 1)
        self.mean, self.log_variance, self.grow = nn.Linear(6272, 20), nn.Linear(6272, 20), nn.Linear(20, 6272)
        self.double_1, self.double_2 = nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ConvTranspose2d(64, 1, 4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.halve_2(F.relu(self.halve_1(x)))).flatten(1)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        out = self.double_2(F.relu(self.double_1(self.grow(z).view(-1, 128, 7, 7))))
        divergence = -0.5 * torch.sum(1 + log_variance - mean**2 - log_variance.exp())
        return F.binary_cross_entropy_with_logits(out, x, reduction="sum") + divergence


def vae(steps: int) -> float:
    """Steps a second of Adam on batches of 256 images."""
    torch.manual_seed(0)
    model, data = Autoencoder(), torch.rand(1024, 1, 28, 28)
    assert sum(p.numel() for p in model.parameters()) == 647_081
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)

    def step() -> None:
        loss = model(data[torch.randint(0, len(data), (256,))])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    for _ in range(5):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return steps / (time.perf_counter() - start)


if __name__ == "__main__":
    torch.set_num_threads(2)
    cases = {
        "train": lambda: {"tokens_per_second": train(60)},
        "sample": lambda: {"tokens_per_second": sample(3)},
        "vae": lambda: {"steps_per_second": vae(40)},
    }
    print(json.dumps(cases[sys.argv[1]]()))
