"""Tables in the terminal, and the same as JSON."""

import json

from collapse_jax.report.tables import human, show_plan, show_runs

PLAN = {
    "group": "000",
    "experiments": 2,
    "chains": 8,
    "controls": 0,
    "fsdp": 1,
    "state": 2048,
    "founding": 4096,
    "memory": 3 * 2**20,
    "limit": None,
    "fits": True,
    "refusal": "",
    "checkpoint": 10,
    "disk": 5 * 2**30,
}
RUN = {"run": "runs/a", "experiments": 2, "chains": 8, "done": 3, "generations": 6, "state": "resumable"}


def test_bytes_have_units():
    assert [human(x) for x in (12, 2048, 3 * 2**20, 5 * 2**30, 2**41)] == ["12 B", "2.0 KiB", "3.0 MiB", "5.0 GiB", "2.0 TiB"]


def test_tables_and_json_say_the_same(capsys):
    show_plan([PLAN], False)
    shown = capsys.readouterr().out
    assert "3.0 MiB" in shown and "1 compiled program(s), 16 chains" in shown and "5.0 GiB" in shown
    assert "does not fit" not in shown and "fsdp" not in shown and "limit" in shown
    full = PLAN | {"fsdp": 4, "limit": 2**20, "fits": False}
    show_plan([full, PLAN | {"fits": False, "refusal": "27.00G of 15.75G"}], False)
    shown = capsys.readouterr().out
    assert "000 does not fit: 3.0 MiB of 1.0 MiB a device" in shown and "000 does not fit: 27.00G of 15.75G" in shown
    assert "fsdp" in shown
    show_plan([PLAN], True)
    assert json.loads(capsys.readouterr().out) == [PLAN]
    show_runs([RUN], False)
    assert "3/6" in capsys.readouterr().out
    show_runs([RUN], True)
    assert json.loads(capsys.readouterr().out) == [RUN]
