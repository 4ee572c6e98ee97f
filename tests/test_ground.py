"""The ground: atomic writes, stages, memory budgets, progress."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tamis.errors import InputError, RunError
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.progress import track
from tamis.runs import StageStore, atomic_path, read_json, versions, write_json, write_text


def test_atomic_write_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one é")
    assert path.read_bytes() == "one é".encode()
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.npy"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".npy"
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file.npy"]


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"a": [1, None, "é"]})
    assert read_json(path) == {"a": [1, None, "é"]}
    assert "é" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": [1, None, "é"]}


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "", "\xff"])
def test_damaged_json_says_the_way_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match="run the command again"):
        read_json(path)
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path / "missing.json")


def test_versions_name_what_changes_numbers() -> None:
    assert {"python", "tamis", "torch", "numpy"} <= set(versions())
    assert all(isinstance(value, str) for value in versions().values())


def test_stages_belong_to_a_key(tmp_path: Path) -> None:
    store, other = StageStore(tmp_path / "stages", "key"), StageStore(tmp_path / "stages", "other")
    assert store.load("part") is None
    store.save("part", np.arange(6.0).reshape(2, 3))
    found = store.load("part")
    assert found is not None
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert other.load("part") is None
    other.clear()
    assert not (tmp_path / "stages").exists()
    other.clear()


def test_stages_without_a_folder_are_forgotten() -> None:
    store = StageStore(None, "key")
    store.save("part", np.zeros(3))
    assert store.load("part") is None
    store.clear()


def test_stages_hold_no_objects(tmp_path: Path) -> None:
    store = StageStore(tmp_path, "key")
    with pytest.raises(ValueError, match="allow_pickle"):
        store.save("part", np.array([object()]))
    assert store.load("part") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("64MiB", 64 * 2**20),
        (" 1.5 gib ", 3 * 2**29),
        ("2GB", 2 * 10**9),
        ("3m", 3 * 2**20),
        ("1048576", 2**20),
        (2**21, 2**21),
    ],
)
def test_memory_budgets(value: str | int | None, expected: int | None) -> None:
    assert parse_memory_budget(value) == expected


@pytest.mark.parametrize(
    "value", ["", "lots", "-1GiB", "1 XB", "1..5GiB", "1023KiB", 0, -5, True, 1.5, b"1GiB"]
)
def test_memory_budgets_refused(value: object) -> None:
    with pytest.raises(InputError, match="memory_budget"):
        parse_memory_budget(value)  # type: ignore[arg-type]


def test_rows_per_block() -> None:
    assert rows_per_block(2**10, 2**22) == 2**10
    assert rows_per_block(2**40, 2**20) == 1
    assert rows_per_block(0, None) == 65_536
    assert rows_per_block(8, None, at_most=100) == 100
    # More memory never means smaller blocks.
    sizes = [rows_per_block(1000, budget) for budget in (2**20, 2**24, 2**28, 2**34)]
    assert sizes == sorted(sizes)


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with track("encoding", total=3) as advance:
        advance(3)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TAMIS_PROGRESS", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with track("encoding", total=3, unit="images") as advance:
        advance(1)
        advance(2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "encoding" in printed.err
    monkeypatch.setenv("TAMIS_PROGRESS", "0")
    with track("encoding", total=3) as advance:
        advance(3)
    assert capsys.readouterr().err == ""
