"""The registry: what it refuses, what it gives by kind, and a metric's value alone or as part of a shared function."""

import dataclasses

import pytest

from collapse_jax.metrics import chosen, registry
from collapse_jax.metrics.registry import KINDS, of_kind

FIELDS = {"formula": "x", "unit": "", "span": "", "direction": "up", "cost": "n", "source": "here", "least": 4}


@pytest.fixture
def empty(monkeypatch):
    monkeypatch.setattr(registry, "REGISTERED", {})


def test_a_metric_is_found_by_its_kind_alone(empty):
    function = registry.metric("one", "states", **FIELDS)(lambda x, weight, y, key: 3)
    assert list(of_kind("states")) == ["one"] and not of_kind("points") and of_kind("states")["one"](0, 0, 0, 0) == 3
    assert function(0, 0, 0, 0) == 3  # the decorator leaves the function as it is
    assert of_kind("states")["one"].group == "one"
    registry.metric("one", "tokens", **FIELDS)(lambda x, weight, y, key: 4)  # one quantity of other samples
    assert of_kind("tokens")["one"](0, 0, 0, 0) == 4 and of_kind("states")["one"](0, 0, 0, 0) == 3


def test_parts_of_one_function_are_its_entries_and_share_its_key(empty):
    def both(x, weight, y, key):
        return {"a": x, "b": -x}

    for part in ("a", "b"):
        registry.metric(f"{part}_of", "points", **FIELDS, part=part)(both)
    found = of_kind("points")
    assert (found["a_of"](5, 0, 0, 0), found["b_of"](5, 0, 0, 0)) == (5, -5)
    assert found["a_of"].group == found["b_of"].group == "both"


@pytest.mark.parametrize("wrong", [{"kind": "sounds"}, {"direction": "sideways"}, {"name": "one"}])
def test_wrong_kinds_directions_and_second_names_are_refused(empty, wrong):
    registry.metric("one", "points", **FIELDS)(len)
    fields = {"name": "two", "kind": "points"} | FIELDS | wrong
    with pytest.raises(ValueError):
        registry.metric(fields.pop("name"), fields.pop("kind"), **fields)(len)


def test_every_registered_metric_says_what_the_reference_page_needs():
    assert chosen.MOST >= 512 and all(of_kind(kind) for kind in ("points", "tokens"))
    for kind in KINDS:
        for m in of_kind(kind).values():
            texts = {f.name: getattr(m, f.name) for f in dataclasses.fields(m) if f.type in ("str", str) and f.name != "unit"}
            assert all(texts.values()) and m.least >= 1, m.name
