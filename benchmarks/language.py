"""Our side of the language-model timings, on both cores: python benchmarks/language.py CASE [VOCABULARY]; a line of JSON.

Cases: beam, ancestral (batch 32, 64 tokens behind 64), generation (fit, write, evaluate) of an OPT of 4 layers × 256; step: a training
step of an OPT of 12 × 768, batch 8 × 64, against the peak of matrix products measured in the same process.
"""

import dataclasses
import json
import os
import sys
import time

import jax
import jax.numpy as jnp

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families import Epochs, Steps, Transformer

BATCH, BLOCK, BLOCKS, EPOCHS = 32, 64, 128, 2


def seconds(function, *arguments, times: int = 5) -> float:
    """The median of `times` runs after one that compiles."""
    jax.block_until_ready(function(*arguments))
    found = []
    for _ in range(times):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        found.append(time.perf_counter() - start)
    return sorted(found)[times // 2]


def family(vocabulary: int, **fields):
    sizes = {"layers": 4, "width": 256, "heads": 8, "block": BLOCK, "context": 2 * BLOCK, "batch": BATCH}
    return Transformer.of("opt", vocabulary=vocabulary, **{**sizes, **fields})


def decoding(rule, vocabulary: int) -> dict:
    f = family(vocabulary)
    params = f.init(jax.random.key(0), {})
    prompts = jax.random.randint(jax.random.key(1), (BATCH, BLOCK), 0, vocabulary)
    spent = seconds(jax.jit(lambda p, x: f.generate(jax.random.key(0), p, x, BLOCK, rule)), params, prompts)
    return {"seconds": spent, "tokens_per_second": BATCH * BLOCK / spent}


def generation(vocabulary: int) -> dict:
    """One generation as lm_nature.py has it: EPOCHS passes over BLOCKS blocks, as many written by beam search, as many evaluated."""
    f = family(vocabulary, budget=Epochs(EPOCHS))
    params = f.init(jax.random.key(0), {})
    blocks = jax.random.randint(jax.random.key(1), (BLOCKS, BLOCK), 0, vocabulary)

    @jax.jit
    def one(params, blocks):
        params, _ = f.fit(jax.random.key(0), params, Slots.of(blocks, 0), {})
        return f.generate(jax.random.key(1), params, blocks, BLOCK, cj.decoding.Beam(5)), jnp.sum(f.losses(params, blocks))

    return {"seconds": seconds(one, params, blocks, times=3)}


def step(vocabulary: int) -> dict:
    """Seconds of a step (the difference of fits of 2 and 6), its matrix products' rate, and the share of the peak."""
    f = family(vocabulary, layers=12, width=768, heads=12, batch=8)
    params = jax.jit(lambda key: f.init(key, {}))(jax.random.key(0))
    train = Slots.of(jax.random.randint(jax.random.key(1), (64, BLOCK), 0, vocabulary), 0)
    fits = {n: dataclasses.replace(f, budget=Steps(n)) for n in (2, 6)}
    spent = {
        n: seconds(jax.jit(lambda p, g=g: g.fit(jax.random.key(0), p, train, {})[1]), params, times=3) for n, g in fits.items()
    }
    a = jax.random.normal(jax.random.key(0), (2048, 2048))
    peak = 2 * 2048**3 / min(seconds(jax.jit(jnp.matmul), a, a) for _ in range(3))
    one = (spent[6] - spent[2]) / 4
    layers = 12 * 12 * 768**2
    flops = 6 * 8 * (BLOCK - 1) * (layers + vocabulary * 768)
    return {"seconds": one, "gflops_per_second": flops / one / 1e9, "peak": peak / 1e9, "share of peak": flops / one / peak}


if __name__ == "__main__":
    words = int(sys.argv[2]) if len(sys.argv) > 2 else 50272
    cases = {
        "beam": lambda: decoding(cj.decoding.Beam(5), words),
        "ancestral": lambda: decoding(cj.decoding.Ancestral(), words),
        "generation": lambda: generation(words),
        "step": lambda: step(words),
    }
    print(json.dumps(cases[sys.argv[1]]() | {"cores": len(os.sched_getaffinity(0))}))
