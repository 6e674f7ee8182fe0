"""All that `collapse report` says of one run: summary, differences between arms, z-scores, verdicts, figures."""

from typing import Any

from collapse_jax.engine.run import Run
from collapse_jax.profile import profile
from collapse_jax.report import differences, summary, zscores
from collapse_jax.report.figures import draw
from collapse_jax.report.tables import show_verdicts


def whole(
    run: Run, figures: bool = True, verdicts: bool = True, base: int = 0, quiet: bool = False, every: bool = False
) -> dict[str, Any]:
    """The report of a run as plain values; printed too unless `quiet`. Raises ConfigError where `base` is no experiment."""
    made = [str(path) for path in draw(run)] if figures else []
    tables = {"summary": summary.summary(run), "differences": differences.differences(run, base), "theory": zscores.zscores(run)}
    numbers = range(len(run.experiments)) if verdicts and not run.records.is_empty() else ()
    found = [(number, profile(run, number)) for number in numbers]
    if not quiet:
        summary.show(tables["summary"], title=str(run.folder))
        differences.show(tables["differences"], summary.name_of(run, base))
        zscores.show(tables["theory"], every)
        if found:
            show_verdicts([(summary.name_of(run, number), one) for number, one in found])
        print("\n".join(made))
    judged = [{"experiment": number, **row} for number, one in found for row in one.table().to_dicts()]
    more = [{"experiment": number, **one.details()} for number, one in found]
    rows = {name: table.to_dicts() for name, table in tables.items()}
    return {"run": str(run.folder), **rows, "profile": judged, "onsets": more, "figures": made}
