"""Samples come back as written, and a resumed run leaves the same files as one that was never stopped."""

import numpy as np
import pytest
from PIL import Image

from collapse_jax.engine.samples import read_samples, write_picture, write_samples
from collapse_jax.errors import ConfigError


def rows(generations, experiment=0):
    text = 'In the beginning é 🜚 \u2028 "quoted"\nand a second line'
    return [
        {"experiment": experiment, "label": "a", "chain": 0, "generation": g, "text": f"{g}: {text}"}
        for g in generations
        for _ in "ab"
    ]


def test_round_trip_in_order(tmp_path):
    write_samples(tmp_path, "001", 0, rows(range(3), experiment=1))
    write_samples(tmp_path, "000", 2, rows(range(2, 12)))
    write_samples(tmp_path, "000", 0, rows(range(2)))
    assert read_samples(tmp_path) == rows(range(12)) + rows(range(3), experiment=1)
    assert read_samples(tmp_path / "none") == []


def test_visits_of_other_lengths_leave_the_same_files(tmp_path):
    for first, last in ((0, 7), (4, 5), (6, 9)):  # killed after 7 with a checkpoint at 3, resumed with shorter visits
        write_samples(tmp_path, "000", first, rows(range(first, last + 1)))
    assert read_samples(tmp_path) == rows(range(10))


def test_half_a_surrogate_pair_does_not_end_a_run(tmp_path):
    write_samples(tmp_path, "000", 0, [{"experiment": 0, "chain": 0, "generation": 0, "text": "half \ud83d"}])
    assert read_samples(tmp_path)[0]["text"] == "half ?"


def test_a_damaged_file_is_named(tmp_path):
    write_samples(tmp_path, "000", 3, rows([3]))
    (tmp_path / "000-00003.jsonl").write_text('{"experiment": 0, "gen')
    with pytest.raises(ConfigError, match=r"000-00003\.jsonl: JSON, one sample a line"):
        read_samples(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_written_as_they_are_and_the_same_every_time(channels, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, channels), np.uint8)
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_picture(folder, "002", 13, 7, pixels)
    (a,), (b,) = (list((tmp_path / name).iterdir()) for name in "ab")
    assert a.name == "002-0013-00007.png" and a.read_bytes() == b.read_bytes()
    assert (np.asarray(Image.open(a)).reshape(pixels.shape) == pixels).all()
    assert read_samples(tmp_path / "a") == []
