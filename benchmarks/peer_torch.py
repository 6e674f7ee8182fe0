"""The tiny transformer in PyTorch eager (training) and in transformers (sampling with its cache), tokens a second."""

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


if __name__ == "__main__":
    torch.set_num_threads(2)
    which = sys.argv[1]
    print(json.dumps({"tokens_per_second": train(60) if which == "train" else sample(3)}))
