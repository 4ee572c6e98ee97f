"""find_label_issues beside cleanlab's, on the same arrays: processor seconds, extra memory, equal results.

    python benchmarks/confident_learning.py --sizes 1000000x10,50000x1000 --out confident_learning.json

Each call runs in a process of its own, one after the other, with cleanlab's own defaults. Counted is the call
alone: libraries are imported and the arrays lie in memory before. Extra memory is the peak over what the
process held then; that of cleanlab's child processes is left out. Reads Linux' /proc.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measuring import measure
from results import Cell, Column, Report

BLOCK_ELEMENTS = 5_000_000
TABLE = (
    Column("rows", "rows", ",d"),
    Column("classes", "classes", ",d"),
    Column("dtype", "numbers"),
    Column("form", "form"),
    Column("tool", "tool"),
    Column("cpu", "CPU s", ".2f"),
    Column("wall", "wall s", ".2f"),
    Column("extra_mb", "extra MB", ".1f"),
    Column("issues", "issues", ",d"),
    Column("is_same", "same result"),
    Column("less_cpu", "CPU, times less", ".1f"),
    Column("less_memory", "memory, times less", ".1f"),
)


def write_inputs(folder: Path, n_rows: int, n_classes: int, dtype: str) -> None:
    """Write probabilities of a model that is mostly right, and labels of which 15 % are drawn at random."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, n_classes, n_rows)
    shape = (n_rows, n_classes)
    probs = np.lib.format.open_memmap(folder / "probs.npy", mode="w+", dtype=dtype, shape=shape)
    step = max(1, BLOCK_ELEMENTS // n_classes)
    for start in range(0, n_rows, step):
        own = truth[start : start + step]
        scores = 1.5 * rng.standard_normal((len(own), n_classes), dtype=np.float32).astype(dtype)
        scores[np.arange(len(own)), own] += 2.2 + 0.65 * np.log(n_classes)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        probs[start : start + step] = scores / scores.sum(axis=1, keepdims=True)
    probs.flush()
    is_random = rng.random(n_rows) < 0.15
    np.save(folder / "labels.npy", np.where(is_random, rng.integers(0, n_classes, n_rows), truth))


def finder(tool: str) -> Callable[..., np.ndarray]:
    if tool == "tamis":
        from tamis import find_label_issues
    else:
        from cleanlab.filter import find_label_issues
    found: Callable[..., np.ndarray] = find_label_issues
    return found


def memory(field: str) -> int:
    """Return a memory figure of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def processor_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run_one(tool: str, form: str, folder: Path) -> None:
    """Call one tool in this process; print what it cost as JSON, save what it found."""
    find = finder(tool)
    labels, probs = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("labels", "probs"))
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts again from here
    before, cpu, wall = memory("VmRSS"), processor_seconds(), time.perf_counter()
    options = {} if form == "mask" else {"return_indices_ranked_by": form}
    found = find(labels, probs, **options)
    wall, cpu = time.perf_counter() - wall, processor_seconds() - cpu
    np.save(folder / f"{tool}.npy", found)
    issues = int(found.sum()) if found.dtype == np.bool_ else len(found)
    cost = {"cpu": cpu, "wall": wall, "extra_mb": (memory("VmHWM") - before) / 1e6, "issues": issues}
    print(json.dumps(cost))


def compare(folder: Path, form: str, tools: Sequence[str]) -> list[dict[str, Cell]]:
    """Measure the tools on the same arrays; the first is set against each."""
    rows: list[dict[str, Cell]] = []
    for tool in tools:
        command = [sys.executable, __file__, "--one", tool, "--form", form, "--folder", str(folder)]
        rows.append({"form": form, "tool": tool} | json.loads(measure(command).stdout.splitlines()[-1]))
    first = np.load(folder / f"{tools[0]}.npy", allow_pickle=False)
    for row in rows[1:]:
        other = np.load(folder / f"{row['tool']}.npy", allow_pickle=False)
        row["is_same"] = "yes" if np.array_equal(first, other) else "no"
        for key, name in (("less_cpu", "cpu"), ("less_memory", "extra_mb")):
            mine, theirs = rows[0][name], row[name]
            assert isinstance(mine, float) and isinstance(theirs, float)
            row[key] = theirs / max(mine, 1e-9)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000000x10,1000000x100,50000x1000", help="ROWSxCLASSES, ...")
    parser.add_argument("--dtypes", default="float32", help="float32, float64 or both")
    parser.add_argument("--forms", default="mask,self_confidence", help="mask, or the score ranked by")
    parser.add_argument("--tools", default="tamis,cleanlab")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--form", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        run_one(arguments.one, arguments.form, arguments.folder)
        return 0
    report = Report("confident_learning", arguments.out)
    for size in arguments.sizes.split(","):
        n_rows, n_classes = map(int, size.split("x"))
        for dtype in arguments.dtypes.split(","):
            with tempfile.TemporaryDirectory() as name:
                write_inputs(Path(name), n_rows, n_classes, dtype)
                for form in arguments.forms.split(","):
                    for row in compare(Path(name), form, arguments.tools.split(",")):
                        report.add({"rows": n_rows, "classes": n_classes, "dtype": dtype} | row)
    report.show(TABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
