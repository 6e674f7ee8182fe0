"""Data sets on disk as sources: our own tensorflow-datasets builders, prepared in a cache, and prepared catalogue sets."""

import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from collapse_jax.errors import ConfigError
from collapse_jax.files import write_whole

Array = jax.Array
T = TypeVar("T")
S = TypeVar("S", bound=Sequence[Any])
SPLITS = ("train", "validation", "test")


def absolute(path: str | Path) -> str:
    """A path that is found again from another folder, as a resumed run may need it."""
    return os.path.abspath(os.path.expanduser(path))


def check_name(dataset: Any) -> None:
    """Raise ConfigError unless `dataset` may name a data set."""
    if not isinstance(dataset, str) or not dataset:
        raise ConfigError("source.dataset", repr(dataset), "the name of a data set")
    if ":" in dataset:  # tensorflow-datasets would ask the network, again and again
        raise ConfigError("source.dataset", dataset, "a name without a namespace")


def drawn(key: Array, n: int, table: Any) -> Array:
    """n different rows of a table, the first of them whatever n is; slots beyond the table's length repeat rows."""
    rows = jnp.asarray(table)
    order = jax.random.permutation(key, rows.shape[0])
    return rows[order[jnp.arange(n) % order.shape[0]]]


def completed(found: dict[str, S]) -> dict[str, S]:
    """All three splits: a missing test and then a missing validation split are the last twentieth of the training split."""
    train, splits = found["train"], dict(found)
    for split in ("test", "validation"):
        if split not in found or not len(found[split]):
            at = len(train) - len(train) // 20
            train, splits[split] = train[:at], train[at:]  # type: ignore[assignment]
    return {"train": train, "validation": splits["validation"], "test": splits["test"]}


def place(folder: Path, dataset: str, fields: list[Any]) -> Path:
    """Where a run keeps what belongs to a data set read with these fields; a grid may have several."""
    digest = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:8]
    return folder / "sources" / f"{dataset.replace('/', '-')}-{digest}"


def check_same_data(path: Path, content: dict[str, bytes], what: str, write: bool = True) -> None:
    """Write the digests of `content` to `path`; where others stand there, refuse: the chain would not be one.

    what: the noun that an error calls it by; write: false, only compare, and these parts alone.
    """
    digests = {name: hashlib.sha256(part).hexdigest() for name, part in content.items()}
    if write and not path.exists():
        write_whole(path, json.dumps(digests, indent=1).encode())
        return
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same = kept == digests if write else digests.items() <= kept.items()
    except (OSError, ValueError, AttributeError):
        allowed = f"the digests of the {what} this run was started with; the file is damaged"
        raise ConfigError("source.dataset", path, allowed) from None
    if not same:
        raise ConfigError("source.dataset", path, f"the {what} this run was started with, unchanged")


def cache_folder() -> Path:
    """Where prepared data sets are kept: COLLAPSE_JAX_CACHE, or collapse_jax in the user's cache folder."""
    own = os.environ.get("COLLAPSE_JAX_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(own) if own else Path(user) / "collapse_jax") / "datasets"


def prepare(name: str, make: Callable[..., Any], data_dir: str | None) -> Any:
    """The builder that `make` makes, prepared once as folder `name` of `data_dir` (None: the cache).

    It is prepared in a folder of its own first, so that processes do not meet. Raises ConfigError where nothing can be written.
    """
    import tensorflow_datasets as tfds

    cache = Path(data_dir) if data_dir else cache_folder()
    final = cache / name
    try:
        if not final.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=".preparing-") as temporary:
                tfds.disable_progress_bar()
                with contextlib.redirect_stdout(io.StringIO()):
                    builder = make(data_dir=f"{temporary}/{name}", file_format="array_record")
                    builder.download_and_prepare(download_dir=f"{temporary}/downloads")
                try:
                    os.rename(f"{temporary}/{name}", final)
                except OSError:  # another process was first
                    if not final.exists():
                        raise
    except OSError as error:
        allowed = f"a folder with room, that can be written ({error.strerror or error})"
        raise ConfigError("source.data_dir", cache, allowed) from None
    return make(data_dir=str(final), file_format="array_record")


def named_after(dataset: str, version: Any, paths: Iterable[str], field: str) -> str:
    """A folder's name that changes with the builder's version and with every byte of the files it reads."""
    digest = hashlib.sha256(json.dumps([str(version), [[path, fingerprint(path, field)] for path in paths]]).encode())
    return f"{dataset}-{digest.hexdigest()[:16]}"


def fingerprint(path: str, field: str) -> str:
    """A file's digest. Raises ConfigError, which names `field`, where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(field, path, f"readable files ({error.strerror})") from None


def on_disk(dataset: str, data_dir: str | None, own: Iterable[str]) -> Any:
    """The builder of a prepared data set; nothing is downloaded, which without a network would retry for minutes.

    data_dir: where prepared sets are, or the folder of one (None: tensorflow-datasets' own); own: the sets that need none.
    """
    import tensorflow_datasets as tfds

    folder = None if data_dir is None else Path(data_dir)
    builder = None
    with contextlib.suppress(Exception):  # unknown names, sets that need TensorFlow: whatever it is, the set is not here
        if folder is not None and (folder / "dataset_info.json").exists():
            builder = tfds.builder_from_directory(folder)
        else:
            builder = tfds.builder(dataset, data_dir=folder, try_gcs=False)
    if builder is None or not builder.info.splits:
        make = f"pip install 'collapse-jax[prepare]'; tfds build {dataset} --file_format=array_record"
        allowed = (
            f"{', '.join(own)} or a prepared data set: prepare it once where TensorFlow is ({make}), "
            "or name a prepared one's folder, the one with dataset_info.json (data_dir)"
        )
        raise ConfigError("source.dataset", dataset, allowed)
    return builder


def check_features(builder: Any, dataset: str, *wanted: str) -> None:
    """Raise ConfigError unless a data set has the features that are wanted."""
    features = list(builder.info.features or [])
    for name in wanted:
        if name not in features:
            allowed = f'a data set with a feature "{name}"; this has {", ".join(features) or "none"}'
            raise ConfigError("source.dataset", dataset, allowed)


def examples(builder: Any, dataset: str, take: Callable[[Any], T]) -> dict[str, list[T]]:
    """`take` of every example, by split; splits without examples are left out. Raises ConfigError where it cannot be read."""
    found: dict[str, list[T]] = {}
    for split in SPLITS:
        if split in builder.info.splits and builder.info.splits[split].num_examples:
            try:
                found[split] = [take(example) for example in builder.as_data_source(split=split)]
            except ConfigError:
                raise
            except Exception as error:
                problem = str(error).strip().split("\n")[0]
                raise ConfigError("source.dataset", dataset, f"prepared in array_record format, and whole ({problem})") from None
    if not found.get("train"):
        raise ConfigError("source.dataset", dataset, "a data set with a training split that is not empty")
    return found
