"""Transformers' side of the language-model timings: python benchmarks/peer_language.py CASE [VOCABULARY]; a line of JSON.

The same OPT of 4 layers × 256: its generate with a cache, and a generation as a script: the Trainer on minibatches, generate, the
Trainer's evaluate.
"""

import json
import sys
import tempfile
import time

import torch
from transformers import OPTConfig, OPTForCausalLM, Trainer, TrainingArguments

BATCH, BLOCK, BLOCKS, EPOCHS = 32, 64, 128, 2
OPTIONS = {"beam": {"num_beams": 5, "do_sample": False}, "ancestral": {"do_sample": True, "top_k": 0}}


def model(vocabulary: int) -> OPTForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "word_embed_proj_dim": 256, "num_hidden_layers": 4, "ffn_dim": 1024, "num_attention_heads": 8}
    none = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return OPTForCausalLM(
        OPTConfig(vocab_size=vocabulary, **sizes, max_position_embeddings=2 * BLOCK, dropout=0.0, **none)
    ).eval()


def written(m: OPTForCausalLM, x: torch.Tensor, case: str) -> torch.Tensor:
    with torch.no_grad():
        return m.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=BLOCK, min_new_tokens=BLOCK, **OPTIONS[case])


def seconds(function, times: int) -> float:
    """The median of `times` runs after one to warm up."""
    function()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return sorted(found)[times // 2]


def decoding(case: str, vocabulary: int) -> dict:
    m, x = model(vocabulary), torch.randint(0, vocabulary, (BATCH, BLOCK))
    spent = seconds(lambda: written(m, x, case), 5)
    return {"seconds": spent, "tokens_per_second": BATCH * BLOCK / spent}


def generation(vocabulary: int) -> dict:
    blocks = torch.randint(0, vocabulary, (BLOCKS, BLOCK))
    rows = [{"input_ids": block, "labels": block} for block in blocks]
    fixed = {"use_cpu": True, "disable_tqdm": True, "report_to": [], "save_strategy": "no", "logging_strategy": "no"}
    sizes = {"per_device_train_batch_size": BATCH, "per_device_eval_batch_size": BATCH, "num_train_epochs": EPOCHS}

    def one(folder: str) -> None:
        m = model(vocabulary)
        options = TrainingArguments(folder, learning_rate=3e-4, prediction_loss_only=True, **fixed, **sizes)
        trainer = Trainer(m, options, train_dataset=rows, eval_dataset=rows)
        trainer.train()
        m.eval()
        for part in blocks.split(BATCH):
            written(m, part, "beam")
        trainer.evaluate()

    with tempfile.TemporaryDirectory() as folder:
        return {"seconds": seconds(lambda: one(folder), 3)}


if __name__ == "__main__":
    torch.set_num_threads(2)
    words = int(sys.argv[2]) if len(sys.argv) > 2 else 50272
    case = sys.argv[1]
    print(json.dumps(generation(words) if case == "generation" else decoding(case, words)))
