"""The script that measures the cost of PRISM's filter runs and says what it measured."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    yield importlib.import_module("prism_cost")
    torch.set_num_threads(threads)
    for name in ("prism_cost", "results"):
        sys.modules.pop(name, None)


def test_rows(script, tmp_path, capsys):
    out = tmp_path / "o.json"
    assert script.main(["--steps", "3", "--classes", "20", "--out", str(out)]) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [(row["similarity"], row["product"]) for row in rows] == [
        ("average", "float32"),
        ("average", "bfloat16"),
        ("vmf", "float32"),
        ("vmf", "bfloat16"),
    ]
    for row in rows:
        assert row["drift"] < 1e-4
        assert 0 < row["product_ms"] < row["filter_ms"] + row["plain_ms"]
    assert "| average | float32 | 20 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        script.main(["--steps", "1"])
