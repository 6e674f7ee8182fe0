"""The reference page of theory, made from docstrings: python -m collapse_jax.theory.reference [FOLDER]"""

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

from collapse_jax.theory import discrete, gaussian, kde, regression, selection, shares

TITLES = {
    gaussian: "Gaussian models",
    shares: "Shares and weights of real data",
    discrete: "Discrete models",
    kde: "Kernel densities",
    regression: "Regression",
    selection: "Selection",
}
HEAD = """# Theory

Closed forms, recursions and bounds that simulations are compared with, each a function `collapse_jax.theory.<module>.<name>`. `run.theory()`
gives those that apply to a run's experiments, figures draw them as dashed lines, and `collapse report` prints z-scores against them
(`collapse_jax/theory/predictions.py` says which law is drawn beside which column). Everything is measured against the source, never
against the first fit; M is the number of samples a fit, S = Σ 1/M over the fits so far.
"""


def laws(module: ModuleType) -> list[tuple[str, str, str, str]]:
    """Its functions in their order: call, what it is, range, source with the test that settles it."""
    own = [f for _, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__]
    found = []
    for f in sorted(own, key=lambda f: f.__code__.co_firstlineno):
        text = " ".join((inspect.getdoc(f) or "").split())
        about, span, source = re.fullmatch(r"(.*?) ?Range: (.+?)\. Source: (.+)", text).groups()  # type: ignore[union-attr]
        found.append((f"{f.__name__}({', '.join(inspect.signature(f).parameters)})", about, span, source.rstrip(".")))
    return found


def page() -> str:
    """docs/theory.md."""
    parts = [HEAD]
    for module, title in TITLES.items():
        name = module.__name__.rsplit(".", 1)[-1]
        rows = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{call}`", *rest)) + " |" for call, *rest in laws(module)
        ]
        head = "| function | what it gives | range | source, and the test that settles it |\n|---|---|---|---|"
        parts.append(f"## {title} (`theory.{name}`)\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(sys.argv[1] if len(sys.argv) > 1 else "docs") / "theory.md").write_text(page(), encoding="utf-8")
