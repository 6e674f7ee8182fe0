"""Every law says where it is from, where it holds and which test settles it; and that test is there."""

import inspect
import re
from pathlib import Path

import pytest

from collapse_jax.theory import discrete, gaussian, kde, regression, selection, shares

MODULES = {module: Path(__file__).parent / name for module, name in {
    discrete: "test_theory_discrete.py",
    gaussian: "test_theory_gaussian.py",
    kde: "test_theory_kde.py",
    regression: "test_theory_regression.py",
    selection: "test_theory_selection.py",
    shares: "test_shares.py",
}.items()}  # fmt: skip
LAWS = [(m, f) for m in MODULES for _, f in inspect.getmembers(m, inspect.isfunction) if f.__module__ == m.__name__]
PAPER = r"\d{4}\.\d{5}|\b(19|20)\d\d\b|Nature|derived here|[Mm]ean of|[Mm]oments of|a definition|distribution"


@pytest.mark.parametrize(("module", "law"), LAWS, ids=[f"{m.__name__.split('.')[-1]}.{f.__name__}" for m, f in LAWS])
def test_a_law_names_its_range_its_source_and_tests_that_exist(module, law):
    text = " ".join(inspect.getdoc(law).split())
    found = re.search(r"Range: (.+?)\. Source: (.+)", text)
    assert found and re.search(PAPER, found[2]), text
    # What no paper says is settled by a test that is named.
    named = re.findall(r"(?:(test_\w+\.py)::)?(test_\w+)\b(?!\.py)", text)
    assert named or "derived here" not in found[2]
    for file, test in named:
        tests = (MODULES[module].parent / file if file else MODULES[module]).read_text()
        assert f"def {test}(" in tests, (file, test)


def test_there_are_laws_to_walk():
    assert len(LAWS) > 50 and {f.__name__ for _, f in LAWS} >= {
        "subsample_limit",
        "half_life",
        "siloed",
        "best_weight",
        "fixation",
    }
