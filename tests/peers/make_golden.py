"""Writes the golden files of parity with transformers: small random models, and what they make of given tokens.

    make golden

Per architecture a folder with config.json and model.safetensors as transformers saves them, gradients/ (the loss's gradient, as a
model of the same layout) and expected.json; processors.json holds logits before and after transformers' logits processors.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from models import MAKERS, random_model
from transformers import LogitsProcessorList
from transformers.generation import logits_process as theirs

SIZES = {"vocabulary": 37, "width": 16, "layers": 2, "heads": 4, "positions": 32}
DECODING = {
    "greedy": {},
    "greedy, penalty 1.3": {"repetition_penalty": 1.3},
    "beam": {"num_beams": 5},
    "beam, penalty 2": {"num_beams": 5, "repetition_penalty": 2.0},
    "beam to an end": {"num_beams": 5, "eos_token_id": 0, "pad_token_id": 0},
    "beam to an end, early": {
        "num_beams": 5,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "early_stopping": True,
        "length_penalty": 0.5,
    },
}


def made(name: str, folder: Path) -> None:
    """One architecture's files."""
    model, rng = random_model(name, seed=3, **SIZES), np.random.default_rng(0)
    model.save_pretrained(folder)
    x, prompts = rng.integers(0, 37, (3, 20)), rng.integers(0, 37, (8, 6))
    out = model(torch.tensor(x), labels=torch.tensor(x))
    out.loss.backward()
    expected = {"tokens": x.tolist(), "loss": out.loss.item(), "logits": np.round(out.logits.detach().numpy(), 6).tolist()}
    end = 0
    with torch.no_grad():
        for rule, options in DECODING.items():
            ones = torch.ones(prompts.shape, dtype=torch.long)
            if "to an end" in rule:
                options = options | {"eos_token_id": end, "pad_token_id": end}
            tokens = model.generate(torch.tensor(prompts), attention_mask=ones, max_new_tokens=24, do_sample=False, **options)
            expected[rule] = np.pad(tokens.numpy(), ((0, 0), (0, 30 - tokens.shape[1])), constant_values=end).tolist()
            if rule == "beam":
                end = int(np.bincount(tokens[:, 6:].ravel()).argmax())  # the commonest token, so that many sequences end
    expected |= {"prompts": prompts.tolist(), "end": end}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.grad.clone()
    model.save_pretrained(folder / "gradients")
    (folder / "expected.json").write_text(json.dumps(expected))
    for file in folder.rglob("generation_config.json"):
        file.unlink()


def processors(path: Path) -> None:
    """Logits before and after processors; tokens that are out have null."""
    rng = np.random.default_rng(1)
    logits, before = (3 * rng.normal(size=(6, 30))).astype(np.float32), rng.integers(0, 30, (6, 5))
    rules = {
        "temperature": theirs.TemperatureLogitsWarper(0.7),
        "top_k": theirs.TopKLogitsWarper(6),
        "top_p": theirs.TopPLogitsWarper(0.8),
        "min_p": theirs.MinPLogitsWarper(0.1),
        "penalty": theirs.RepetitionPenaltyLogitsProcessor(1.7),
    }
    rules["all"] = LogitsProcessorList([rules[name] for name in ("penalty", "temperature", "top_k", "top_p", "min_p")])
    out = {name: rule(torch.tensor(before), torch.tensor(logits)).numpy() for name, rule in rules.items()}
    plain = {name: [[None if np.isinf(v) else float(v) for v in row] for row in value] for name, value in out.items()}
    path.write_text(json.dumps({"logits": logits.tolist(), "before": before.tolist(), **plain}))


if __name__ == "__main__":
    for name in MAKERS:
        made(name, Path(sys.argv[1]) / name)
    processors(Path(sys.argv[1]) / "processors.json")
