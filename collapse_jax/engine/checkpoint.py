"""Checkpoints of a group: one stacked tree a generation by Orbax, with a digest of every leaf that is checked on the way back."""

import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1

from collapse_jax.errors import ConfigError

KEEP = re.compile(r"all|(last|every):([1-9][0-9]*)")


class Preservation:
    """Which generations stay on disk: "all", the newest K ("last:K"), or every K-th and the newest two ("every:K")."""

    def __init__(self, keep: str):
        found = KEEP.fullmatch(keep) if isinstance(keep, str) else None
        if found is None:
            raise ConfigError("keep", keep, "all, last:K or every:K with K of at least 1")
        self.kind, self.number = (found[1] or "all"), int(found[2] or 1)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any = None) -> list[bool]:
        newest = self.number if self.kind == "last" else 2
        recent = [place >= len(checkpoints) - newest for place in range(len(checkpoints))]
        if self.kind == "last":
            return recent
        return [self.kind == "all" or new or c.step % self.number == 0 for c, new in zip(checkpoints, recent, strict=True)]


class Checkpoints:
    """The checkpoints in `folder`; to be used by one process at a time, from its main thread, under the run's lock."""

    def __init__(self, folder: Path, keep: str = "all"):
        policy = Preservation(keep)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.manager = v1.training.Checkpointer(
            self.folder,
            save_decision_policy=v1.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policy,  # type: ignore[arg-type]
            cleanup_tmp_directories=True,
        )
        self.pending: Any = None

    def generations(self) -> list[int]:
        """The generations on disk, oldest first."""
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def latest(self) -> int | None:
        """The newest generation on disk, whole or not."""
        return max(self.generations(), default=None)

    def save(self, generation: int, tree: Any) -> None:
        """Write `tree` in the background; its arrays are copied first, so they may be donated at once. Raises OSError."""
        self.wait()
        leaves = on_host(tree)
        digests = {name: digest(value) for name, value in leaves.items()}
        self.pending = self.manager.save_async(generation, leaves, custom_metadata={"sha256": digests})
        if self.pending is None:
            raise OSError(f"generation {generation} was not saved to {self.folder}")

    def wait(self) -> None:
        """Until what was saved last is on disk. Raises what went wrong there."""
        pending, self.pending = self.pending, None
        if pending is not None and not pending.result():
            raise OSError(f"a checkpoint was not written to {self.folder}")

    def restore(self, abstract: Any) -> tuple[int, Any] | None:
        """The newest generation that is whole, and its tree in the structure of `abstract` (shapes, dtypes); None: there is none.

        A generation that is truncated, missing parts, or whose digests differ is reported in a line and deleted.
        """
        for generation in reversed(self.generations()):
            try:
                tree = self.load(generation, abstract)
            except Exception as error:  # Orbax raises many kinds for damaged files
                reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
                print(f"checkpoint {self.folder.name}/{generation} is damaged ({reason}): using the one before", file=sys.stderr)
                shutil.rmtree(self.folder / str(generation), ignore_errors=True)
                self.manager.reload()
                continue
            return generation, tree
        return None

    def load(self, generation: int, abstract: Any) -> Any:
        """One generation's tree. Raises ValueError where its bytes are not those that were saved."""
        names = named(abstract)
        shapes = {name: data_shape(leaf) for name, leaf in names.items()}
        saved = self.manager.metadata(generation).custom_metadata["sha256"]
        leaves = self.manager.load(generation, shapes)
        for name, leaf in leaves.items():
            if saved.get(name) != digest(np.asarray(leaf)):
                raise ValueError(f"{name} differs from what was saved")
        restored = [as_leaf(leaves[name], leaf) for name, leaf in names.items()]
        return jax.tree.unflatten(jax.tree.structure(abstract), restored)

    def close(self) -> None:
        """Finish what is being written and let go of the folder."""
        self.pending = None
        self.manager.close()


def named(tree: Any) -> dict[str, Any]:
    """Leaves by their path in the tree."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def on_host(tree: Any) -> dict[str, np.ndarray]:
    """Copies of the leaves in host memory; typed keys as their data."""
    plain = {name: jax.random.key_data(leaf) if is_key(leaf) else leaf for name, leaf in named(tree).items()}
    return {name: np.array(leaf) for name, leaf in jax.device_get(plain).items()}


def data_shape(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape in which a leaf lies on disk."""
    if is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]))


def as_leaf(value: Any, like: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(value)) if is_key(like) else value


def digest(value: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
