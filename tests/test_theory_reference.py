"""The page of theory: the committed one is what docstrings say, and names every law."""

from pathlib import Path

from test_theory_sources import LAWS

from collapse_jax.theory import reference


def test_the_committed_page_is_what_the_code_says_and_names_every_law():
    made = reference.page()
    committed = Path(__file__).parents[1] / "docs" / "theory.md"
    assert made == committed.read_text(encoding="utf-8"), "python -m collapse_jax.theory.reference"
    for _, law in LAWS:
        assert f"| `{law.__name__}(" in made
