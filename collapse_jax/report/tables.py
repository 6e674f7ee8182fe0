"""Tables in the terminal: plans and lists of runs, or the same as JSON."""

import json
from typing import Any

from rich.table import Table

from collapse_jax.report.summary import wide_console

BYTES = ("state", "founding", "memory", "limit", "checkpoint", "disk")


def human(size: float) -> str:
    """Bytes with a unit: 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def shown(name: str, value: Any) -> str:
    """A cell of a plan."""
    if name in BYTES:
        return "–" if value is None else human(value)
    return {True: "yes", False: "no"}[value] if name == "fits" else str(value)


def show_plan(rows: list[dict[str, Any]], as_json: bool) -> None:
    """What `collapse plan` prints: a row a compiled program; memory is one device's."""
    if as_json:
        print(json.dumps(rows))
        return
    idle = [name for name in ("controls", "fsdp") if len({row[name] for row in rows} | {int(name == "fsdp")}) == 1]
    columns = [name for name in rows[0] if name not in (*idle, "refusal")]
    table = Table(*[{name: f"{name}/device" for name in ("state", "founding", "memory")}.get(name, name) for name in columns])
    for row in rows:
        table.add_row(*[shown(name, row[name]) for name in columns])
    wide_console().print(table)
    disk = sum(row["disk"] for row in rows)
    runs = sum(row["experiments"] * row["chains"] + row["controls"] for row in rows)
    for row in rows:
        if not row["fits"]:
            why = row["refusal"] or f"{human(max(row['founding'], row['memory']))} of {human(row['limit'])}"
            print(f"{row['group']} does not fit: {why} a device; a larger fsdp, remat, accumulate or fewer chains take less")
    print(f"{len(rows)} compiled program(s), {runs} chains, about {human(disk)} on disk; nothing was run")


def show_throughput(rows: list[dict[str, Any]], as_json: bool) -> None:
    """What `collapse throughput` prints: a row a family and decoding."""
    if as_json:
        print(json.dumps(rows))
        return
    columns = {"train_tokens_per_second": "train tokens/s", "train_share": "of peak"}
    columns |= {"decode_tokens_per_second": "decode tokens/s", "decode_share": "of peak "}
    table = Table("group", "family", "chains", "devices", *columns.values())
    for row in rows:
        cells = [f"{row[name]:.1%}" if name.endswith("share") else f"{row[name]:,.0f}" for name in columns]
        table.add_row(row["group"], row["family"], str(row["chains"]), str(row["devices"]), *cells)
    wide_console().print(table)
    device, peak, dtype = rows[0]["device"], rows[0]["peak"] / 1e9, rows[0]["dtype"]
    print(f"peak: {peak:,.0f} GFLOP/s of {dtype} matrix products on all devices ({device}), measured in this process")


def show_profile(title: str, profile: Any) -> None:
    """What `collapse profile` prints of one experiment: a row a definition, then onsets, and early and late collapse."""
    wide_console().print(verdicts_of(title, profile))
    for kind, onsets in (("fresh real data", profile.onsets), ("the same real data again and again", profile.repeated)):
        if onsets:
            wide_console().print(onsets_table(kind, onsets))
    if profile.dropped:
        print(f"{profile.dropped} chains failed and are left out")
    for name, life in profile.half_lives.items():
        half = f"{life.value:.3g} generations [{life.low:.3g}, {life.high:.3g}]" if life.value < float("inf") else "not reached"
        law = profile.laws.get(name)
        follows = "" if law is None else f"; law {law.best} (AIC " + ", ".join(f"{n} {x:.4g}" for n, x in law.aic.items()) + ")"
        there = profile.later.get(name)
        print(f"half-life of {name}: {half}{follows}")
        if there is not None:
            print(f"  followed to the generation asked for: {there.value:.3g} [{there.low:.3g}, {there.high:.3g}]")
    within = lambda x: f"{x.value:.3g} [{x.low:.3g}, {x.high:.3g}]"
    if profile.slopes:
        print(
            f"log risk against log M: slope {within(profile.slopes['first'])} at generation 0, {within(profile.slopes['last'])} at the end"
        )
    if profile.memory:
        print("memorisation at the end, median: " + ", ".join(f"{name} {within(x)}" for name, x in profile.memory.items()))
    words = {True: "yes", False: "no", None: "undecided"}
    print(f"early collapse (tails first): {words[profile.early]}; late collapse (variance): {words[profile.late]}\n")


def verdicts_of(title: str, profile: Any) -> Table:
    """A row a definition: statistic with its interval, verdict, metric, and what would decide it."""
    table = Table("definition", "statistic [95 %]", "verdict", "metric", "what would decide it", title=title)
    for v in profile.verdicts:
        number = "–" if v.statistic is None else f"{v.statistic:.3g} [{v.low:.3g}, {v.high:.3g}]"
        table.add_row(v.definition, number, v.verdict, v.metric or "–", v.needs)
    return table


def onsets_table(kind: str, onsets: dict[str, Any]) -> Table:
    """A row a metric: the first generation outside the controls' band and its interval, recovery, and single chains that crossed."""
    names = ("metric", "leaves", "at generation [95 %]", "back from", "leaves again", "chains that crossed [95 %]")
    table = Table(*names, title=f"Onset against controls on {kind}", title_justify="left")
    for name, found in onsets.items():
        crossed = "needs 99 controls"
        if found.share is not None:
            crossed = f"{found.share:.0%} [{found.share_low:.0%}, {found.share_high:.0%}]"
        if found.verdict != "yes":
            more = f", {found.needed} chains and controls would say" if found.needed else ""
            table.add_row(name, f"{found.verdict}{more}", "–", "–", "–", crossed)
            continue
        when = f"{found.generation} [{found.low:g}, {found.high:g}]"
        back, again = ("–" if t is None else str(t) for t in (found.recovered, found.again))
        table.add_row(name, found.direction, when, back, again, crossed)
    return table


def show_verdicts(rows: list[tuple[str, Any]]) -> None:
    """The verdicts of several experiments, (name, profile) each: a row an experiment, a column a definition.

    Of up to 3 experiments with statistics, intervals and metrics too; `collapse profile` prints those of any number.
    """
    numbers = range(1, 1 + len(rows[0][1].verdicts))
    table = Table("experiment", *map(str, numbers), "early", "late", title="The eight definitions (+ yes, - no, ? undecided)")
    mark = {"yes": "+", "no": "-", "undecided": "?", True: "+", False: "-", None: "?"}
    for name, profile in rows:
        table.add_row(name, *(mark[v.verdict] for v in profile.verdicts), mark[profile.early], mark[profile.late])
    wide_console().print(table)
    print("; ".join(f"{number} {v.definition}" for number, v in zip(numbers, rows[0][1].verdicts, strict=True)))
    if len(rows) > 3:
        print("statistics, intervals and metrics: collapse profile")
        return
    for name, profile in rows:
        wide_console().print(verdicts_of(name, profile))


def show_runs(rows: list[dict[str, Any]], as_json: bool) -> None:
    """What `collapse ls` prints."""
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("run", "experiments", "chains", "generations", "state")
    for row in rows:
        table.add_row(
            row["run"], str(row["experiments"]), str(row["chains"]), f"{row['done']}/{row['generations']}", row["state"]
        )
    wide_console().print(table)
