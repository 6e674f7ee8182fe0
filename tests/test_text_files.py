"""The user's own text files: nothing is lost, splits stay put, and what is wrong is named."""

import json

import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.sources import Bytes, Text
from collapse_jax.sources.builders.text_files import PIECE, TextFiles, examples, hashed_split


def written(folder, name, content):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def prepared(folder, *files):
    builder = TextFiles(files=files, data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return {split: [example["text"].decode() for example in builder.as_data_source(split=split)] for split in builder.info.splits}


def lines(n, word="line"):
    return "".join(f"{word} {i} of many that are all different\n" for i in range(n))


def test_a_text_file_is_cut_at_line_ends_and_nothing_is_lost(tmp_path):
    text = lines(400) + "no newline at the end é"
    pieces = list(examples(written(tmp_path, "a.txt", text)))
    assert "".join(pieces) == text
    assert all(piece.endswith("\n") and PIECE <= len(piece) < PIECE + 100 for piece in pieces[:-1])


def test_a_record_a_line(tmp_path):
    texts = ["one", "two\nlines", "separators \u2028 \x0b stay", ""]
    records = [json.dumps({"text": text, "id": 1}, ensure_ascii=False) for text in texts]
    file = written(tmp_path, "a.jsonl", "\n".join(records) + "\n\n")
    assert list(examples(file)) == [text + "\n" for text in texts]


def test_examples_keep_their_split_when_files_are_added(tmp_path):
    one = written(tmp_path, "one.jsonl", "".join(json.dumps({"text": f"example {i}"}) + "\n" for i in range(400)))
    two = written(tmp_path, "two.txt", lines(3000))
    before, after = prepared(tmp_path / "a", one), prepared(tmp_path / "b", two, one)
    for split, texts in before.items():
        assert [text for text in after[split] if text.startswith("example")] == texts
    # Binomial(400, 0.05): 20 ± 4 · 4.4
    assert all(2 < len(before[split]) < 38 for split in ("validation", "test"))
    assert sum(map(len, before.values())) == 400


def test_a_file_may_be_named_after_its_split(tmp_path):
    names = {"train.txt": "train", "Valid-1.txt": "validation", "dev.txt": "validation", "test.jsonl": "test", "x.txt": "train"}
    record = json.dumps({"text": "test.jsonl"}) + "\n"
    files = [written(tmp_path, name, record if name.endswith("l") else name + "\n") for name in names]
    found = prepared(tmp_path / "set", *files)
    expected = {split: [name + "\n" for name in names if names[name] == split] for split in ("train", "validation", "test")}
    assert found == expected


def test_a_split_without_examples_is_left_out(tmp_path):
    text = next(f"text {i}\n" for i in range(100) if hashed_split(f"text {i}\n") == "train")
    assert prepared(tmp_path / "set", written(tmp_path, "a.txt", text)) == {"train": [text]}


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", "x", "end in .txt or .jsonl"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", '{"text": "x"}\n{"tex": "y"}\n', r"a.jsonl:2: lines of JSON"),
        ("a.jsonl", '{"text": 5}', r"a.jsonl:1: lines of JSON"),
        ("a.jsonl", "no json", r"a.jsonl:1: lines of JSON"),
        ("a.txt", "", "files that hold text"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(name, content, message, tmp_path):
    file = written(tmp_path, name, content)
    with pytest.raises(ConfigError, match=message):
        prepared(tmp_path / "set", file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none.txt: readable text files"):
        list(examples(tmp_path / "none.txt"))


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    path = tmp_path / "web.jsonl"
    path.write_text('{"text": "good \\ud83d day"}\n')
    (text,) = examples(path)
    assert text == "good ? day\n"


def test_files_are_found_again_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Text("text_files", Bytes(), 8, ("a.txt",)).files == (str(tmp_path / "a.txt"),)


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "three"}\n')
    assert [list(examples(tmp_path / name)) for name in ("a.txt", "b.jsonl")] == [["one\ntwo\n"], ["three\n"]]
