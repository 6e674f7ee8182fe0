"""Records on disk: one Parquet part per group and host visit, written whole."""

import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from collapse_jax.errors import ConfigError
from collapse_jax.files import sync_folder, write_whole

PART = re.compile(r"(\d+)-(\d+)\.parquet")
INDEX = ("experiment", "chain", "generation")


def frame(
    metrics: dict[str, np.ndarray], experiment: np.ndarray, chain: np.ndarray, first: int, rhythm: dict[str, int] | None = None
) -> pl.DataFrame:
    """Rows for every chain and generation: metrics [rows, steps, ...], experiment and chain [rows], the first generation.

    rhythm: metrics that are made in every k-th generation only, and null in the others.
    Experiments are numbers here; their fields join when records are read. Raises ValueError where shapes do not agree.
    """
    if not metrics:
        return pl.DataFrame(schema=dict.fromkeys(INDEX, pl.Int32))
    rows, steps = next(iter(metrics.values())).shape[:2]
    data: dict[str, Any] = {
        "experiment": np.repeat(np.asarray(experiment, np.int32), steps),
        "chain": np.repeat(np.asarray(chain, np.int32), steps),
        "generation": np.tile(np.arange(first, first + steps, dtype=np.int32), rows),
    }
    for name, value in metrics.items():
        if value.shape[:2] != (rows, steps):
            raise ValueError(f"{name} has shape {value.shape}, other metrics {(rows, steps)}")
        flat = np.ascontiguousarray(value.reshape(rows * steps, *value.shape[2:]))
        half = flat.dtype.kind not in "biu" and flat.dtype.itemsize < 4  # float16 and bfloat16 have no column type
        data[name] = flat.astype(np.float32) if half else flat
    made = {name: (pl.col("generation") % every == 0) for name, every in (rhythm or {}).items()}
    return pl.DataFrame(data).with_columns(pl.when(at).then(pl.col(name)).alias(name) for name, at in made.items())


class Records:
    """The parts beneath `folder`: group=<name>/<first>-<last>.parquet."""

    def __init__(self, folder: Path):
        self.folder = folder

    def parts(self, group: str | None = None) -> list[tuple[Path, int, int]]:
        """Every part with its first and last generation, ordered by group and first generation."""
        found = []
        for path in self.folder.glob(f"group={group or '*'}/*.parquet"):
            match = PART.fullmatch(path.name)
            if match:
                found.append((path, int(match[1]), int(match[2])))
        return sorted(found, key=lambda part: (part[0].parent.name, part[1], part[2]))

    def covered(self, group: str, check: bool = False) -> int:
        """The last generation up to which every one is in a part that is whole; -1: none. check: read every part to its end."""
        end = -1
        for path, first, last in self.parts(group):
            if first > end + 1 or not whole(path, check):
                break
            end = max(end, last)
        return end

    def write(self, group: str, first: int, last: int, rows: pl.DataFrame) -> None:
        """One part, there as a whole or not at all. Raises OSError."""
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd", compression_level=1)
        write_whole(self.folder / f"group={group}" / f"{first}-{last}.parquet", buffer.getvalue())

    def drop_after(self, group: str, generation: int) -> None:
        """Forget a group's records beyond a generation, those whose checkpoint was never committed, and half-written parts.

        Only under the run's lock. Raises OSError.
        """
        folder = self.folder / f"group={group}"
        for path in folder.glob(".*.part"):
            path.unlink()
        beyond = [part for part in self.parts(group) if part[2] > generation]
        for path, first, _ in beyond:
            if first <= generation:
                self.write(group, first, generation, part(path).filter(pl.col("generation") <= generation))
            path.unlink()
        if beyond:
            sync_folder(folder)

    def read(self) -> pl.DataFrame:
        """All rows, ordered by experiment, chain and generation; a metric that a group has not is null there.

        Raises ConfigError where a part is damaged.
        """
        groups: dict[str, list[pl.DataFrame]] = {}
        end: dict[str, int] = {}
        for path, first, last in self.parts():
            name = path.parent.name
            if first > end.get(name, -1) + 1:
                gone = f"{end.get(name, -1) + 1} to {first - 1} of {name}"
                print(
                    f"records of generations {gone} are gone: collapse resume {self.folder.parent} makes them again",
                    file=sys.stderr,
                )
            end[name] = max(end.get(name, -1), last)
            groups.setdefault(name, []).append(part(path))
        if not groups:
            return pl.DataFrame(schema=dict.fromkeys(INDEX, pl.Int32))
        tables = [as_lists(pl.concat(parts, how="vertical_relaxed")) for parts in groups.values()]
        return pl.concat(tables, how="diagonal_relaxed").sort(INDEX)


def whole(path: Path, check: bool) -> bool:
    """Whether a part is a whole Parquet file: by its end, which is written last, or by reading all of it."""
    try:
        if check:
            return part(path) is not None
        with open(path, "rb") as file:  # a name would be taken for a pattern
            return pl.read_parquet_schema(file) is not None
    except (pl.exceptions.PolarsError, ConfigError, OSError):
        return False


def part(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, hive_partitioning=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        again = "a whole Parquet file; this one is damaged or gone (collapse resume makes it again)"
        raise ConfigError("records", path, again) from None


def as_lists(rows: pl.DataFrame) -> pl.DataFrame:
    """Fixed-size columns as lists, so that groups whose arrays differ in size fit in one table."""

    def loose(dtype: Any) -> Any:
        return pl.List(loose(dtype.inner)) if isinstance(dtype, pl.Array | pl.List) else dtype

    return rows.cast({name: loose(dtype) for name, dtype in rows.schema.items() if isinstance(dtype, pl.Array)})
