"""Transformers' side of the language-model timings: python benchmarks/peer_language.py CASE [VOCABULARY]; a line of JSON.

The same OPT of 4 layers × 256: its generate with a cache, and a generation as a script: AdamW on minibatches in a plain loop (less
than the Trainer does beside it), generate, evaluate.
"""

import json
import sys
import time

import torch
from transformers import OPTConfig, OPTForCausalLM

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

    def one() -> None:
        m = model(vocabulary).train()
        optimizer = torch.optim.AdamW(m.parameters(), lr=3e-4)
        for _ in range(EPOCHS):
            for part in blocks[torch.randperm(BLOCKS)].split(BATCH):
                loss = m(part, labels=part).loss
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
                optimizer.step()
        m.eval()
        for part in blocks.split(BATCH):
            written(m, part, "beam")
            with torch.no_grad():
                m(part, labels=part)

    return {"seconds": seconds(one, 3)}


if __name__ == "__main__":
    torch.set_num_threads(2)
    words = int(sys.argv[2]) if len(sys.argv) > 2 else 50272
    case = sys.argv[1]
    print(json.dumps(generation(words) if case == "generation" else decoding(case, words)))
