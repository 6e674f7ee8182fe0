"""The reference page of metrics of samples, made from the registry: python -m collapse_jax.metrics.reference > docs/sample_metrics.md"""

from collapse_jax.metrics import chosen
from collapse_jax.metrics.registry import KINDS, Metric, of_kind

TITLES = {"points": "Points and images", "states": "States", "tokens": "Text"}
HEAD = """# Metrics of samples

Asked for by name, `metrics=["trace_ratio", "sliced_w2_sq@5"]` (`@5`: in every fifth generation, empty in the others), or all that
so many samples can carry, `metrics="all"`. Each looks at up to {most} generated samples x and, where it compares, at {held} real
held-out samples y, the same for all chains and generations. "From": the least number of samples; with fewer the metric mostly
measures its own noise, and is refused. "Collapse": where collapse moves it.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD.format(most=chosen.MOST, held=chosen.HELD_OUT)]
    for kind in KINDS:
        rows = [line(m) for _, m in sorted(of_kind(kind).items())]
        if rows:
            columns = "| column | formula | unit | range | collapse | cost | from | source |\n|---|---|---|---|---|---|---|---|"
            parts.append(f"## {TITLES[kind]}\n\n{columns}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def line(m: Metric) -> str:
    """One metric's row."""
    cells = (f"`{m.name}`", m.formula, m.unit or "–", m.span, m.direction, m.cost, str(m.least), m.source)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(page(), end="")
