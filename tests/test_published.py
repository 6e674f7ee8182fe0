"""The one-dimensional runs of Collapse or Thrive, number for number: their normals through our pure step, in float64."""

import os
import subprocess
import sys

import pytest

PROGRAM = '''
import sys
import numpy as np, jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
import collapse_jax as cj
from collapse_jax.families import gaussian
from collapse_jax.families.gaussian import Gaussian
from collapse_jax.struct import struct

def theirs(n, generations, seed, accumulate):
    """An independent program that draws as the authors did: (mean, variance) of every iteration."""
    random = np.random.RandomState(seed)
    data = random.normal(0.0, 1.0, n)
    fits = []
    for _ in range(generations + 1):
        fits.append((data.mean(), data.var()))
        new = random.normal(fits[-1][0], np.sqrt(fits[-1][1]), n)
        data = np.concatenate([data, new]) if accumulate else new
    return np.array(fits)

class Normals:
    """The legacy generator's own standard normals, in the order they are asked for."""
    def __init__(self, seed): self.random = np.random.RandomState(seed)
    def next(self, n): return jnp.asarray(self.random.standard_normal(n))[:, None]

queue = None

@struct
class Fed(Gaussian):
    def sample(self, key, params, n, decoding=None, prompts=None):
        return gaussian.place(params, queue.next(n))

@struct
class FedNormal(cj.sources.Normal):
    def draw(self, key, n, shared):
        return queue.next(n)

worst = 0.0
for n, generations, accumulate, seeds in (10, 99, 0, 5), (10, 99, 1, 3), (100, 99, 0, 3), (100, 40, 1, 2), (1000, 99, 0, 1):
    for seed in range(seeds):
        queue = Normals(seed)
        regime = cj.regimes.Accumulate() if accumulate else cj.regimes.Replace()
        e = cj.resolve(cj.Experiment(FedNormal(1), Fed(1, "mle", statistics=False), regime, n, generations))
        chain = cj.initial_chain(e, {}, jax.random.key(0))
        ours = []
        for t in range(generations + 1):
            chain, record = cj.advance(e, {}, chain, t)
            ours.append((float(chain.params.mean[0]), float(jnp.exp(2 * chain.params.factor.log_scale[0])), float(record["trace_ratio"])))
        ours = np.array(ours)
        assert ours.dtype == np.float64
        mean, variance = theirs(n, generations, seed, accumulate).T
        error = max(abs(ours[:, 0] - mean).max(), abs(ours[:, 1] - variance).max(), abs(ours[:, 2] - variance).max())
        worst = max(worst, error)
        assert variance[-1] < (0.2 if n == 10 and not accumulate else 2)
print("worst", worst)
assert worst < 1e-12
'''


@pytest.mark.timeout(280)
def test_the_published_runs_agree_to_a_trillionth():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=270, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("worst")
