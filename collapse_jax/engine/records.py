"""Records on disk: one Parquet part per group and host visit, written whole."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from collapse_jax.engine.storage import write_whole

PART = re.compile(r"(\d+)-(\d+)\.parquet")


def frame(metrics: dict[str, np.ndarray], experiment: np.ndarray, chain: np.ndarray, first: int) -> pl.DataFrame:
    """Rows for every chain and generation: metrics [rows, steps, ...], experiment and chain [rows], the first generation."""
    steps = next(iter(metrics.values())).shape[1]
    data: dict[str, Any] = {
        "experiment": np.repeat(experiment, steps),
        "chain": np.repeat(chain, steps),
        "generation": np.tile(np.arange(first, first + steps, dtype=np.int32), len(chain)),
    }
    for name, value in metrics.items():
        flat = np.ascontiguousarray(value.reshape(-1, *value.shape[2:]))
        data[name] = flat.astype(np.float32) if flat.dtype.kind == "f" and flat.dtype.itemsize < 4 else flat
    return pl.DataFrame(data)


class Records:
    """The parts beneath `folder`: group=<name>/<first>-<last>.parquet."""

    def __init__(self, folder: Path):
        self.folder = folder

    def parts(self, group: str | None = None) -> list[tuple[Path, int, int]]:
        """Every part with its first and last generation."""
        found = []
        for path in sorted(self.folder.glob(f"group={group or '*'}/*.parquet")):
            match = PART.fullmatch(path.name)
            if match:
                found.append((path, int(match[1]), int(match[2])))
        return sorted(found, key=lambda part: (part[0].parent.name, part[1]))

    def write(self, group: str, first: int, last: int, rows: pl.DataFrame) -> None:
        """One part, there as a whole or not at all. Raises OSError."""
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd", compression_level=1)
        write_whole(self.folder / f"group={group}" / f"{first}-{last}.parquet", buffer.getvalue())

    def drop_after(self, group: str, generation: int) -> None:
        """Forget a group's records beyond a generation: those whose checkpoint was never committed."""
        for path, first, last in self.parts(group):
            if last > generation:
                if first <= generation:
                    self.write(group, first, generation, pl.read_parquet(path).filter(pl.col("generation") <= generation))
                path.unlink()

    def read(self) -> pl.DataFrame:
        """All rows, ordered by experiment, chain and generation; a metric that a group has not is null there."""
        frames = [pl.read_parquet(path, hive_partitioning=False) for path, _, _ in self.parts()]
        if not frames:
            return pl.DataFrame(schema={"experiment": pl.Int32, "chain": pl.Int32, "generation": pl.Int32})
        return pl.concat(frames, how="diagonal_relaxed").sort("experiment", "chain", "generation")
