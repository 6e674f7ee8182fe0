"""WikiText-2 from raw files, from a zip, and what is refused; none of its text is needed."""

import urllib.error
import zipfile

import pytest

import collapse_jax as cj
from collapse_jax.sources.builders import wikitext

TEXTS = {name: "".join(f" = {name} {i} = \n \n A line of {name} . \n" for i in range(40)) for name in ("train", "valid", "test")}


def written(folder, names=("train", "valid", "test")):
    folder.mkdir()
    for name in names:
        (folder / f"wiki.{name}.raw").write_text(TEXTS[name], encoding="utf-8")
    return folder


def source(place, tmp_path):
    return cj.sources.Text("wikitext2", cj.sources.Bytes(), 16, (str(place),), str(tmp_path / "prepared"))


def test_files_and_a_zip_of_them_give_the_lines_that_are_not_blank(tmp_path):
    folder = written(tmp_path / "raw")
    with zipfile.ZipFile(tmp_path / "wikitext-2-raw-v1.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"wikitext-2-raw/{file.name}")
    inside = tmp_path / "zipped"
    inside.mkdir()
    (inside / "a.zip").write_bytes((tmp_path / "wikitext-2-raw-v1.zip").read_bytes())
    for place in (folder, tmp_path / "wikitext-2-raw-v1.zip", inside):
        splits = source(place, tmp_path).splits()
        assert splits["train"].splitlines() == [line for line in TEXTS["train"].split("\n") if line.strip()]
        assert splits["validation"].startswith(" = valid 0") and splits["test"].startswith(" = test 0")
    blocks = source(folder, tmp_path).load(None)
    assert blocks["train"].shape[1] == 16 and bytes(blocks["train"][0].tolist()).decode().startswith(" = train 0")


def test_a_split_that_is_missing_is_taken_from_the_training_text(tmp_path):
    splits = source(written(tmp_path / "raw", ("train",)), tmp_path).splits()
    assert splits["train"] and splits["validation"] and splits["test"]


def test_what_is_no_wikitext_is_refused_in_one_line(tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    latin = written(tmp_path / "latin")
    (latin / "wiki.train.raw").write_bytes("Ä".encode("latin-1") * 100)
    nothing = written(tmp_path / "nothing", ("valid",))
    (nothing / "wiki.train.raw").write_text("\n \n")
    hollow = written(tmp_path / "hollow")
    (hollow / "wiki.valid.raw").write_text(" \n")  # a twentieth of the training text would silently take its place
    (tmp_path / "broken.zip").write_bytes(b"PK no")
    for place, words in (
        (empty, "the training text is not there"),
        (latin, "text in UTF-8"),
        (nothing, "train: text in every split that is there; this one is empty"),
        (hollow, "valid: text in every split"),
        (tmp_path / "broken.zip", "can be read"),
    ):
        with pytest.raises(cj.ConfigError, match=f"source.files = .*{words}"):
            source(place, tmp_path).load(None)
    with pytest.raises(cj.ConfigError, match=r"source.files = \['.*', '.*'\]: one folder or zip"):
        cj.sources.Text("wikitext2", files=("a", "b")).validate()

    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(wikitext.urllib.request, "urlopen", offline)
    with pytest.raises(cj.ConfigError, match="it cannot be downloaded here .no network"):
        cj.sources.Text("wikitext2", cj.sources.Bytes(), 16, data_dir=str(tmp_path / "p")).load(None)


def test_files_are_those_whose_names_have_the_split_as_a_word(tmp_path):
    folder = written(tmp_path / "raw", ("train", "test"))
    for name in ("latest.txt", "a_test.txt", "training.raw", ".wiki.train.raw", "wiki.test.tokens"):
        (folder / name).write_text("another text")
    (folder / "wiki.validation.raw").write_text(TEXTS["valid"])
    assert wikitext.contents(folder) == TEXTS
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        for name, text in TEXTS.items():
            archive.writestr(f"wikitext-2-raw/wiki.{name}.raw", text)
            archive.writestr(f"__MACOSX/wikitext-2-raw/._wiki.{name}.raw", b"\x00\xff")
    assert wikitext.contents(tmp_path / "mac.zip") == TEXTS
    beside = written(tmp_path / "beside", ("valid",))
    (beside / "whole.zip").write_bytes((tmp_path / "mac.zip").read_bytes())
    assert wikitext.contents(beside) == TEXTS


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    folder = written(tmp_path / "raw")
    (folder / "wiki.train.raw").write_bytes(b"\xef\xbb\xbf" + TEXTS["train"].replace("\n", "\r\n").encode())
    assert wikitext.contents(folder) == TEXTS
