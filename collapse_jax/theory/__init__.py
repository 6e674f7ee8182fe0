"""Closed-form predictions, drawn beside what a run measures."""

from typing import Any


def predict(experiment: Any) -> dict[str, Any]:
    return {}
