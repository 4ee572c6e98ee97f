import time

import pytest

from tamis.encoders import precision
from tamis.errors import InputError


def burner(cost):
    def run(chosen):
        end = time.thread_time() + cost[chosen]
        while time.thread_time() < end:
            pass

    return run


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(precision, "_measured", {})
    monkeypatch.setattr(precision, "has_bfloat16_kernels", lambda: True)


@pytest.mark.parametrize(
    ("float32", "bfloat16", "expected"),
    [(0.02, 0.01, "bfloat16"), (0.01, 0.02, "float32"), (0.01, 0.0095, "float32")],
)
def test_the_faster_one_wins_by_a_margin(float32, bfloat16, expected):
    run = burner({"float32": float32, "bfloat16": bfloat16})
    assert precision.fastest_precision("model", run, device="cpu") == expected


def test_work_of_others_does_not_count():
    def run(chosen):
        burner({"float32": 0.02, "bfloat16": 0.01})(chosen)
        if chosen == "bfloat16":
            time.sleep(0.05)

    assert precision.fastest_precision("model", run, device="cpu") == "bfloat16"


def test_measured_once_per_name():
    calls = []
    for name in ("a", "a", "b"):
        precision.fastest_precision(name, calls.append, device="cpu", rounds=1)
    assert len(calls) == 2 * 4


def test_without_kernels_or_on_other_devices_nothing_runs(monkeypatch):
    assert precision.fastest_precision("a", burner({}), device="cuda") == "float32"
    monkeypatch.setattr(precision, "has_bfloat16_kernels", lambda: False)
    assert precision.fastest_precision("a", burner({}), device="cpu") == "float32"


def test_choice_is_checked():
    assert precision.check_precision("bfloat16") == "bfloat16"
    with pytest.raises(InputError, match="use 'auto', 'float32' or 'bfloat16'"):
        precision.check_precision("half")
