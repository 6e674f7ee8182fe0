"""Checkpoints of a group: one stacked tree a generation by Orbax, with a digest of every leaf that is checked on the way back."""

import hashlib
import json
import logging
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

from collapse_jax.engine.storage import refusal
from collapse_jax.errors import ConfigError

KEEP = re.compile(r"all|(last|every):([1-9][0-9]{0,8})")


class Preservation:
    """Which generations stay on disk: "all", the newest K ("last:K"), or one of every K and the newest two ("every:K").

    Of every K generations the first that has a checkpoint stays: with a stride of 1, those divisible by K.
    Raises ConfigError for anything else.
    """

    def __init__(self, keep: str):
        found = KEEP.fullmatch(keep) if isinstance(keep, str) else None
        if found is None:
            raise ConfigError("keep", keep, "all, last:K or every:K with K of at least 1")
        self.kind, self.number = (found[1] or "all"), int(found[2] or 1)

    def kept(self, generations: Sequence[int]) -> list[bool]:
        """Which of `generations`, oldest first, stay."""
        newest = {"all": len(generations), "last": self.number, "every": 2}[self.kind]
        recent = [place >= len(generations) - newest for place in range(len(generations))]
        if self.kind != "every":
            return recent
        before = [-1, *(g // self.number for g in generations)]
        return [new or g // self.number != b for g, b, new in zip(generations, before, recent)]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any = None) -> list[bool]:
        """Orbax's question."""
        return self.kept([checkpoint.step for checkpoint in checkpoints])


class Checkpoints:
    """The checkpoints in `folder`.

    To be used from a process's main thread. Reading is always allowed; `save` and `restore` only under the run's lock,
    because they delete what other writers left half done.
    """

    def __init__(self, folder: Path, keep: str = "all", identity: str | None = None):
        """keep: see Preservation; identity: of the run's configuration; checkpoints that carry another one are refused."""
        self.policy, self.identity = Preservation(keep), identity
        self.folder = folder.resolve()
        self.manager: Any = None
        self.pending: Any = None

    def generations(self) -> list[int]:
        """The generations on disk, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit() and path.is_dir())

    def latest(self) -> int | None:
        """The newest generation on disk, whole or not."""
        return max(self.generations(), default=None)

    def save(self, generation: int, tree: Any, extra: dict[str, Any] | None = None, rows: int | None = None) -> None:
        """Write `tree` in the background; its arrays are copied first, so they may be donated at once.

        rows: how many rows of every leaf (None: all); extra: JSON kept beside it.
        Raises OSError (or what Orbax makes of one, see `storage.writing`), also for the save before.
        """
        self.wait()
        if self.manager is None:
            self.manager = manager(self.folder, self.policy)
        leaves = named(tree)
        data = {name: on_host(leaf, rows) for name, leaf in leaves.items()}
        own = {} if self.identity is None else {"identity": self.identity}
        size = lambda leaf: list(leaf.shape) if rows is None else [rows, *leaf.shape[1:]]
        digests = {name: [str(leaf.dtype), size(leaf), digest(data[name])] for name, leaf in leaves.items()}
        contents = {"leaves": digests, "extra": {**own, **(extra or {})}}
        filled = {name: value for name, value in data.items() if value.size}  # Orbax refuses empty arrays
        metadata = {**contents, "sha256": seal(contents)}
        self.pending = self.manager.save_async(generation, filled or {"": np.zeros(1)}, custom_metadata=metadata)
        if self.pending is None:
            raise OSError(f"generation {generation} is not newer than those in {self.folder}")

    def wait(self) -> None:
        """Until what was saved last is on disk. Raises what went wrong there."""
        pending, self.pending = self.pending, None
        if pending is not None and not pending.result():
            raise OSError(f"a checkpoint was not written to {self.folder}")

    def restore(self, abstract: Any, recorded: int | None = None, place: Any = None) -> tuple[int, Any] | None:
        """The newest generation that is whole, and its tree as `load` gives it; None: there is none.

        Newer ones that are truncated, lack parts, or whose digests differ are reported in a line and deleted, and so are
        those beyond the last generation that is `recorded` (None: all are).
        """
        self.wait()
        found, damaged = None, []
        for generation in reversed(self.generations()):
            if recorded is not None and generation > recorded:
                damaged.append((generation, "has records before it that are gone or damaged"))
                continue
            try:
                found = generation, self.load(generation, abstract, place)
                break
            except Damaged as error:
                damaged.append((generation, f"is damaged ({error.reason})"))
        for generation, reason in damaged:
            onward = f"going on from generation {found[0]}" if found else "beginning anew"
            print(f"checkpoint {self.folder.name}/{generation} {reason}: {onward}", file=sys.stderr)
            shutil.rmtree(self.folder / str(generation))
        if damaged and self.manager is not None:
            self.manager.reload()
        return found

    def load(self, generation: int, abstract: Any, place: Any = None, part: bool = False) -> Any:
        """One generation's tree, bit by bit what was saved, in the structure of `abstract`.

        abstract: leaves with shape, dtype and, where wanted, sharding; other leaves come to the default device. It may lie
        on other devices than the tree that was saved. place(value, like): what is made of a leaf in the host's memory, keys being
        their data (None: `on_device`). part: `abstract` is a dictionary of some of the tree's own parts, and only they are given.
        Raises Damaged, or ConfigError where the tree saved is another one.
        """
        folder, leaves = self.folder / str(generation), named(abstract)
        contents = self.contents(generation)
        saved, owner = contents["leaves"], contents["extra"].get("identity")
        if self.identity is not None and owner is not None and owner != self.identity:
            raise ConfigError("checkpoint", folder, "the state of this configuration; it is another run's")
        if part:
            saved = {name: leaf for name, leaf in saved.items() if name.split("/")[0] in abstract}
        wanted = {name: list(shape(leaf)) for name, leaf in leaves.items()}
        differing = sorted(name for name in {*saved, *wanted} if saved.get(name, [])[:2] != wanted.get(name))
        if differing:
            raise ConfigError("checkpoint", folder, f"the state of this configuration and version; {differing[0]} differs")
        data = self.reading(generation, lambda: v1.load(folder)) if any(leaf.size for leaf in leaves.values()) else {}
        for name, leaf in leaves.items():
            value = data[name] if name in data else np.zeros(*data_shape(leaf)) if leaf.size == 0 else None
            if value is None or digest(np.asarray(value)) != saved[name][2]:
                raise Damaged(folder, f"{name} is not what was saved")
            data[name] = value
        return jax.tree.unflatten(
            jax.tree.structure(abstract), [(place or on_device)(data[name], leaf) for name, leaf in leaves.items()]
        )

    def contents(self, generation: int) -> dict[str, Any]:
        """What a checkpoint says of itself: leaves by name (dtype, shape, digest) and `extra`. Raises Damaged."""
        folder = self.folder / str(generation)
        metadata = dict(self.reading(generation, lambda: v1.metadata(folder).custom_metadata) or {})
        if metadata.pop("sha256", None) != seal(metadata):
            raise Damaged(folder, "its list of contents is not what was saved")
        return metadata

    def reading(self, generation: int, read: Any) -> Any:
        """`read()`; raises Damaged for what Orbax raises, which is of many kinds, but not for what the system refuses."""
        hush()
        try:
            return read()
        except Exception as error:
            if isinstance(error, MemoryError) or refusal(error):
                raise
            text = " ".join(str(error).split())[:80] or type(error).__name__
            raise Damaged(self.folder / str(generation), f"it cannot be read: {text}") from error

    def close(self) -> None:
        """Finish what is being written and let go of the folder. Raises nothing: `wait` tells what went wrong."""
        self.pending = None
        if self.manager is not None:
            try:
                self.manager.close()
            except Exception as error:  # a failed save is raised again here, after `save` or `wait` has raised it
                logging.getLogger(__name__).debug("closing %s: %s", self.folder, error)
            self.manager = None


class Damaged(ConfigError):
    """A checkpoint that is not what was saved."""

    def __init__(self, folder: Path, reason: str):
        super().__init__("checkpoint", folder, f"a whole checkpoint; {reason}")
        self.reason = reason


def manager(folder: Path, policy: Preservation) -> Any:
    """Orbax's checkpointer, which saves every generation it is given."""
    hush()
    context = v1.Context()
    # a folder that cannot be made in the background leaves threads that keep the process alive for five minutes
    context.asynchronous.create_directories_asynchronously = False
    return v1.training.Checkpointer(
        folder,
        context=context,
        save_decision_policy=v1.training.save_decision_policies.FixedIntervalPolicy(1),
        preservation_policy=policy,  # type: ignore[arg-type]
        cleanup_tmp_directories=True,
    )


def hush() -> None:
    """Drop the tracebacks that Orbax and TensorStore log for errors they raise as well: the user gets one line.

    A save or load fails at one leaf; the others then find the event loop closed, in threads that nobody waits for.
    """
    for name in ("absl", None, "asyncio"):
        logging.getLogger(name).addFilter(not_orbax)
    if not isinstance(sys.unraisablehook, Unraisable):
        sys.unraisablehook = Unraisable(sys.unraisablehook)


class Unraisable:
    """A hook for errors that cannot be raised which leaves out those of a closed event loop."""

    def __init__(self, before: Any):
        self.before = before

    def __call__(self, raised: Any) -> None:
        if str(raised.exc_value) != "Event loop is closed":
            self.before(raised)


def not_orbax(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return "orbax" not in record.pathname and "OCDBT" not in str(error)


def named(tree: Any) -> dict[str, Any]:
    """Leaves by their path in the tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def shape(leaf: Any) -> tuple[str, list[int]]:
    """A leaf's dtype and shape as JSON."""
    return str(leaf.dtype), list(leaf.shape)


def data_shape(leaf: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype in which a leaf lies on disk."""
    bare = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    bare = jax.eval_shape(jax.random.key_data, bare) if is_key(leaf) else bare
    return bare.shape, bare.dtype


def on_host(leaf: Any, rows: int | None = None) -> np.ndarray:
    """A leaf's own copy in host memory, of its first rows (None: all); a typed key as its data."""
    data = jax.random.key_data(leaf) if is_key(leaf) else leaf
    if rows is None or rows == data.shape[0]:
        value = np.asarray(data)
        own = value.flags.owndata and value.flags.c_contiguous and isinstance(leaf, jax.Array)
        return value if own else np.array(value, order="C")
    out = np.empty((rows, *data.shape[1:]), data.dtype)
    for shard in data.addressable_shards:
        first, *others = shard.index
        begin, end, _ = first.indices(data.shape[0])
        if shard.replica_id == 0 and begin < rows:
            out[(slice(begin, min(end, rows)), *others)] = np.asarray(shard.data)[: rows - begin]
    return out


def key_impl(like: Any) -> Any:
    """The generator of typed keys of which only shape and dtype may be known."""
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), jax.ShapeDtypeStruct(like.shape, like.dtype))
    return found[0]


def on_device(value: np.ndarray, like: Any) -> jax.Array:
    """Host data as a leaf like `like`, on its devices."""
    leaf = jax.random.wrap_key_data(jnp.asarray(value), impl=key_impl(like)) if is_key(like) else value
    return jax.device_put(leaf, getattr(like, "sharding", None))


def digest(value: np.ndarray) -> str:
    """SHA-256 of an array's dtype, shape and bytes."""
    head = f"{value.dtype}{value.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).hexdigest()


def seal(contents: dict[str, Any]) -> str:
    """SHA-256 of JSON in canonical form."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
