"""Simulation against theory: a z-score for every metric and generation that theory knows, and which of them are not testable."""

from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from collapse_jax.engine.run import Run
from collapse_jax.report.summary import name_of, wide_console
from collapse_jax.theory.predictions import Prediction, predict

FLAGGED = 4.0  # standard errors from which a difference is no accident
COLUMNS = ("experiment", "name", "metric", "statistic", "kind", "generation", "simulated", "predicted", "z", "note")
COUNTS = ("tested", "declined", f"|z| > {FLAGGED:g}")
WIDE = 12  # generations in a terminal's table
UNTESTABLE = "not testable: rare chains carry this mean, and so few chains hold none of them"


def zscores(run: Run) -> pl.DataFrame:
    """A row per experiment, metric, prediction and generation: simulated, predicted, z; null z, with a note, where theory declines.

    Of a mean, z is the difference in standard errors over chains; of a median, that of the share of chains below it from ½
    (sign test). A bound is not met from the wrong side only: on its own side z is null. Chains that failed are left out.
    """
    rows: list[dict[str, Any]] = []
    for number, experiment in enumerate(run.experiments):
        mine = run.records.filter(pl.col("experiment") == number)
        if "failed" in mine.columns:  # a chain that fails at all would leave the others' law in part
            mine = mine.filter(~pl.col("failed").any().over("chain"))
        chains = mine["chain"].n_unique() if len(mine) else 0
        for metric, predictions in predict(experiment, chains).items() if chains else ():
            if metric not in mine.columns:
                continue
            wide = mine.sort("chain", "generation")[metric].to_numpy().astype(float).reshape(chains, -1)
            for prediction in predictions:
                common = {"experiment": number, "name": name_of(run, number), "metric": metric}
                rows += [common | row for row in compared(wide, prediction)]
    return pl.DataFrame(rows, schema_overrides={"z": pl.Float64}, infer_schema_length=None) if rows else pl.DataFrame()


def compared(values: np.ndarray, prediction: Prediction) -> list[dict[str, Any]]:
    """The rows of one prediction for values [chains, generations]."""
    chains, generations = values.shape
    rows = []
    for t in range(generations):
        x, expected = values[:, t], float(prediction.values[t])
        median = prediction.statistic == "median"
        simulated = float(np.median(x) if median else np.mean(x))
        note, z = "", None
        if prediction.testable is not None and not bool(prediction.testable[t]):
            note = UNTESTABLE
        elif not (np.isfinite(expected) and np.isfinite(x).all()):
            note = "not finite"
        elif chains < 2:
            note = "not testable: one chain has no standard error"
        else:
            z = sign(x, expected) if median else standard(x, expected)
            if prediction.kind == "bound" and z is not None and z >= 0:
                note, z = "above its lower bound", None
            elif prediction.kind == "asymptotic":
                note = "asymptotic: a difference of its order is expected"
        kinds = {"statistic": prediction.statistic, "kind": prediction.kind, "generation": t}
        rows.append(kinds | {"simulated": simulated, "predicted": expected, "z": z, "note": note})
    return rows


def standard(x: np.ndarray, expected: float) -> float | None:
    """(mean - expected) in standard errors; of values that are all alike 0 or None: they have none."""
    error = x.std(ddof=1) / np.sqrt(len(x))
    if error <= 1e-6 * max(abs(expected), 1e-30):
        return 0.0 if np.isclose(x.mean(), expected, rtol=1e-4) else None
    return float((x.mean() - expected) / error)


def sign(x: np.ndarray, expected: float) -> float:
    """How far the share of values above the expected median is from ½, in standard errors; ties count half."""
    above = np.mean(x > expected) + 0.5 * np.mean(x == expected)
    return float((above - 0.5) * 2 * np.sqrt(len(x)))


def worst(table: pl.DataFrame) -> pl.DataFrame:
    """A row per experiment, metric and prediction: generations tested and declined, flagged (|z| > 4), and the largest |z|."""
    keys = ["experiment", "name", "metric", "statistic", "kind"]
    at = pl.col("z").abs().fill_null(-1).arg_max()
    return table.group_by(keys, maintain_order=True).agg(
        tested=pl.col("z").is_not_null().sum(),
        declined=pl.col("z").is_null().sum(),
        flagged=(pl.col("z").abs() > FLAGGED).sum(),
        generation=pl.col("generation").get(at),
        simulated=pl.col("simulated").get(at),
        predicted=pl.col("predicted").get(at),
        z=pl.col("z").get(at),
    )


def show(table: pl.DataFrame, every: bool = False) -> None:
    """Print the worst z-score of every prediction, then those of all generations (up to 12 of them unless `every`); flagged ones are marked."""
    if table.is_empty():
        return
    shown = Table(title="Simulation against theory (largest |z| over generations)", title_justify="left")
    for name in ("experiment", "metric", "theory of", *COUNTS, "at", "simulated", "predicted", "z"):
        shown.add_column(name, justify="left" if name in ("experiment", "metric", "theory of") else "right")
    for row in worst(table).iter_rows(named=True):
        numbers = [str(row[name]) for name in ("tested", "declined", "flagged", "generation")]
        values = [f"{row[name]:.4g}" for name in ("simulated", "predicted")]
        shown.add_row(row["name"], row["metric"], law(row), *numbers, *values, marked(row["z"]))
    console = wide_console()
    console.print(shown)
    times = table["generation"].unique().sort().to_list()
    times = times if every else some(times, WIDE)
    for first in range(0, len(times), WIDE):
        console.print(by_generation(table, times[first : first + WIDE]))
    if (table["note"] == UNTESTABLE).any():
        print(f"–: {UNTESTABLE}, or no number")


def some(times: list[int], most: int) -> list[int]:
    """At most so many of the generations, evenly spread, the first and the last among them."""
    if len(times) <= most:
        return times
    return [times[i] for i in np.unique(np.linspace(0, len(times) - 1, most).round().astype(int))]


def by_generation(table: pl.DataFrame, times: list[int]) -> Table:
    """z of every prediction at these generations; – where theory declines."""
    shown = Table(title="z by generation", title_justify="left")
    for name in ("experiment", "metric", "theory of"):
        shown.add_column(name)
    for t in times:
        shown.add_column(str(t), justify="right")
    keys = ["experiment", "name", "metric", "statistic", "kind"]
    for _, rows in table.group_by(keys, maintain_order=True):
        row, z = rows.row(0, named=True), dict(rows.select("generation", "z").iter_rows())
        shown.add_row(row["name"], row["metric"], law(row), *(marked(z.get(t)) for t in times))
    return shown


def law(row: dict[str, Any]) -> str:
    """What a prediction is of: mean or median, and of which kind it is where it is not exact."""
    return row["statistic"] + ("" if row["kind"] == "exact" else f" ({row['kind']})")


def marked(z: float | None) -> str:
    """A z-score, with a mark where it is flagged."""
    return "–" if z is None else f"{z:+.1f}" + (" ◂" if abs(z) > FLAGGED else "")
