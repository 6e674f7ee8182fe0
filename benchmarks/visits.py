"""The engine's own program of one experiment, visit after visit, for timings without compilation, records on disk and checkpoints."""

import time
from typing import Any

import jax
import jax.numpy as jnp

import collapse_jax as cj
from collapse_jax.engine.work import Settings, Work


class Visits:
    """Chains of one experiment on all devices there are; `stride`: generations that a visit may take."""

    def __init__(self, experiment: cj.Experiment, chains: int, stride: int, chunk: int | None = None):
        self.chains, self.t = chains, 0
        self.work = Work([experiment], Settings(chains, stride=stride, chunk=chunk), jax.devices())
        self.work.load()
        group = self.work.groups[0]
        self.arguments = self.work.arguments(group, self.work.begin(group))
        self.program, self.plan = self.work.program(group, self.arguments), self.work.layout(group)
        self.state: Any = self.arguments[3]

    def __call__(self, steps: int) -> tuple[float, Any]:
        """Goes `steps` generations on: seconds, and the records as they come, [chunks, stride, chunk]."""
        numbers = [jax.device_put(jnp.int32(x), self.plan.everywhere) for x in (self.t, steps)]
        start = time.perf_counter()
        self.state, records = jax.block_until_ready(self.program(*self.arguments[:3], self.state, *numbers))
        self.t += steps
        return time.perf_counter() - start, records
