"""Fixtures and options of every test: a clean environment, the shared data, the slow tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
_CLEARED = ("TAMIS_DEBUG", "HF_TOKEN", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS")
# Two workers of two threads each wait for one another most of the time, on two cores.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_session_folder = pytest.StashKey[Path]()

# The fast run tries the same examples every time: it cannot fail by chance. The slow one looks for new ones.
hypothesis.settings.register_profile("fast", max_examples=40, deadline=None, derandomize=True)
hypothesis.settings.register_profile("slow", max_examples=400, deadline=None, derandomize=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    # Set before any test module is imported: some libraries read these once, at import.
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    folder = Path(tempfile.mkdtemp(prefix="tamis-tests-"))
    config.stash[_session_folder] = folder
    os.environ["TAMIS_CACHE"] = str(folder / "cache")
    os.environ["HF_HOME"] = str(folder / "hub")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["TAMIS_PROGRESS"] = "0"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in _CLEARED:
        os.environ.pop(name, None)
    hypothesis.settings.load_profile("slow" if config.getoption("--run-slow") else "fast")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_session_folder], ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --run-slow")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def _shared_folder() -> Path:
    return Path(os.environ.get("TAMIS_SHARED", ROOT.parent / "shared"))


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the networks of an audit for 30 steps instead of 300: most of the time of a small audit.

    For tests of files, order, names and refusals, where every path matters and how much is found does not.
    """
    monkeypatch.setattr("tamis.statistics.mixup_mlp.LEAST_STEPS", 30)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared real data; the test is skipped where it is absent."""
    folder = _shared_folder()
    if not (folder / "data").is_dir():
        pytest.skip("no shared data: set TAMIS_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of golden files; the test is skipped where it is absent."""
    folder = Path(os.environ.get("TAMIS_GOLDEN", _shared_folder() / "golden"))
    if not folder.is_dir():
        pytest.skip("no golden files: set TAMIS_GOLDEN to their folder")
    return folder
