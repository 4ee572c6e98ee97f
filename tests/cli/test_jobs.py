"""Whole jobs through the command line: quickstart, its next command, audit and export of real files."""

from __future__ import annotations

import csv
import json
import re
import shlex
import time
from pathlib import Path

import numpy as np
import pytest

from tamis.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quickstart_and_the_command_it_names(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = time.process_time()
    assert main(["quickstart", "--json"]) == 0
    # Of the processor: the wall clock says more about what else runs on the machine.
    assert time.process_time() - before < 60
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["n_planted"] == 143
    assert found["precision_at_planted"] > 0.85
    assert found["total_seconds"] > 0
    assert re.search(r"Found \d+ of the 143 planted errors", printed.err)
    assert (here / found["report"]).stat().st_size > 10_000
    # The next command is one that works.
    assert main(shlex.split(found["next"])[1:]) == 0
    with (here / "runs" / "quickstart" / "corrected.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 1_797
    assert sum(row["was_changed"] == "true" for row in rows) == found["n_flagged"]


def test_audit_of_a_manifest_keeps_its_columns_in_the_export(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(["ash", "=birch"], 60)
    points = np.where(labels[:, None] == "ash", 0.0, 8.0) + random.normal(size=(120, 2))
    labels[3], labels[100] = "=birch", "ash"
    np.save(here / "x.npy", points)
    np.save(here / "y.npy", labels)
    assert main(["audit", "--features", "x.npy", "--labels", "y.npy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run"] == "runs/audit-x"
    assert {row["id"] for row in found["worst"][:2]} == {"3", "100"}
    assert main(["export", "runs/audit-x", "--to", "safe.csv", "--spreadsheet-safe", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n_rows"] == 120
    assert result["n_dangerous_cells"] > 0
    with (here / "safe.csv").open(newline="") as handle:
        assert {row["label"] for row in csv.DictReader(handle)} == {"ash", "'=birch"}
