"""Control chains: an experiment's regime with real samples in place of the synthetic ones, switched by a number."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.regimes import Data, Regime, Shared, real, size
from collapse_jax.struct import replace, struct

Array = jax.Array
KINDS = ("none", "fresh", "repeated")


@struct
class Held:
    """The store of the regime itself, and the real data of generation 0."""

    store: Any
    real: Data


@struct
class Controlled(Regime):
    """A regime as it is, or as control chains have it: one compiled program serves both.

    kind, a leaf, is a place in `KINDS`: 0, the regime itself; 1, every generation gets new real samples in place of the
    model's; 2, it gets those of generation 0 again. Only the branch that is asked for is computed.
    """

    regime: Any
    kind: Any = 0

    def exact(self) -> bool:
        return bool(self.regime.exact())

    def slots(self, capacity: int, total: int) -> int:
        return int(self.regime.slots(capacity, total))

    def new(self, m: Array, t: Array | int) -> Array:
        return self.regime.new(m, t)

    def begin(self, real: Data, shared: Shared) -> Held:
        return Held(self.regime.begin(real, shared), real)

    def training_set(self, store: Held, shared: Shared) -> Data:
        return self.regime.training_set(store.store, shared)

    def update(self, key: Array, store: Held, new: Data, shared: Shared, t: Array | int) -> Held:
        inner, own = (jax.random.fold_in(key, i) for i in range(2))

        def fresh() -> Any:
            anew = real(own, size(shared, t + 1), shared["sizes"].capacity, shared)
            return self.regime.control(inner, store.store, anew, shared, t, False)

        branches = (
            lambda: self.regime.update(key, store.store, new, shared, t),
            fresh,
            lambda: self.regime.control(inner, store.store, store.real, shared, t, True),
        )
        return replace(store, store=jax.lax.switch(jnp.asarray(self.kind), branches))
