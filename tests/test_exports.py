"""The public face: sorted, typed, documented, complete, and quick to import."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tamis
from tamis.exporting.writers import FORMATS
from tamis.issues.schema import ISSUE_TYPES

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "tamis"
DOCS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))
HEAVY = ("torch", "sklearn", "pandas", "pyarrow", "numpy", "typer", "matplotlib", "transformers", "datasets")


def _loaded_by(statement: str) -> set[str]:
    """Return which of the heavy packages a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    assert _loaded_by("import tamis") == set()
    assert _loaded_by("import tamis.errors") == set()
    # What `tamis --help` loads.
    assert _loaded_by("import tamis.cli") == {"typer"}
    # The statement can see a heavy package.
    assert "numpy" in _loaded_by("import tamis\ntamis.noise")


def test_face_is_sorted_and_complete() -> None:
    # Capitals first, as `sorted` has it; dunder names between.
    assert tamis.__all__ == sorted(tamis.__all__)
    assert set(tamis.__all__) <= set(dir(tamis))
    for name in tamis.__all__:
        assert getattr(tamis, name) is not None
        assert getattr(tamis, name) is getattr(tamis, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tamis.nonsense


def test_face_is_typed() -> None:
    """What type checkers see (the TYPE_CHECKING block) is what __all__ promises."""
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (guard,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    seen |= {ast.unparse(node.target) for node in guard.body if isinstance(node, ast.AnnAssign)}
    assert seen == set(tamis.__all__)
    assert set(tamis._HOME) | {"noise", "__version__"} == set(tamis.__all__)


@pytest.mark.parametrize("name", [name for name in tamis.__all__ if name != "__version__"])
def test_public_name_is_documented(name: str) -> None:
    assert (getattr(tamis, name).__doc__ or "").strip(), "needs a docstring"
    assert f"`tamis.{name}`" in DOCS, "needs its line in docs/api.md"


def test_noise_models_are_documented() -> None:
    for name in tamis.noise.__all__:
        assert re.search(rf"`tamis\.(noise\.)?{name}\b", DOCS), f"{name} needs its place in docs/noise.md"


@pytest.mark.parametrize("to", FORMATS)
def test_export_format_is_documented(to: str) -> None:
    assert f"| `{to}` |" in (ROOT / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("issue", [issue.name for issue in ISSUE_TYPES])
def test_issue_type_is_documented(issue: str) -> None:
    assert f"`{issue}`" in DOCS or f"`is_{issue}_issue`" in DOCS


def test_environment_variables_are_documented() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    undocumented = {name for name in re.findall(r"\bTAMIS_[A-Z_]+\b", code) if f"`{name}" not in DOCS}
    assert not undocumented


@pytest.mark.parametrize("room", [each.name for each in pkgutil.iter_modules(tamis.__path__) if each.ispkg])
def test_room_lists_what_it_exports(room: str) -> None:
    module = importlib.import_module(f"tamis.{room}")
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name), f"tamis.{room} lists {name} and lacks it"
    assert (module.__doc__ or "").strip()


def test_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tamis", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.stdout.strip() == f"tamis {tamis.__version__}"


def test_ctrl_c_while_modules_are_loaded_has_words() -> None:
    lines = [
        "import sys",
        "class Stop:",
        "    def find_spec(self, name, *_):",
        "        if name == 'typer': raise KeyboardInterrupt",
        "sys.meta_path.insert(0, Stop())",
        "from tamis.__main__ import entry",
        "entry()",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "tamis: interrupted before anything began\n"
