"""Small made-up audits, and a parsed view of the report written for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tamis.data.dataset import Dataset, Unreadable
from tamis.issues.schema import ISSUE_TYPES, issue_schema
from tamis.issues.summary import AuditSummary, ClassSummary
from tamis.reporting import write_report
from tamis.types import Estimate

VOID = {"meta", "img", "source", "br", "rect", "link", "hr", "input"}


class FakeInput:
    """An input whose samples are given; samples that are `Unreadable` stay so."""

    def __init__(self, kind, samples):
        self.kind = kind
        self.samples = samples
        self.n_reads = 0

    def __len__(self):
        return len(self.samples)

    def read(self, rows: Sequence[int]):
        self.n_reads += len(rows)
        return [self.samples[row] for row in rows]

    def digests(self):
        return np.zeros((len(self.samples), 2), dtype=np.uint64)


def pictures(n, side=32, seed=0):
    rng = np.random.default_rng(seed)
    samples = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(n)]
    return FakeInput("image", samples)


@dataclass
class Case:
    """An audit: what `write_report` is called with."""

    issues: pa.Table
    summary: AuditSummary
    dataset: Dataset | None = None
    neighbors: np.ndarray | None = None
    source: str = "data/made-up"


@dataclass
class Page:
    """A parsed report."""

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split()).replace("\u202f", " ")

    def having(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.tags
            if name == tag and all(value in (found.get(key) or "").split() for key, value in wanted.items())
        ]


class Reader(HTMLParser):
    """Collects tags and texts, and fails on tags that are not closed in order."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.page = page
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.page.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.page.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.page.texts.append(data)


def parse(html: str) -> Page:
    page = Page(html)
    reader = Reader(page)
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return page


def make_case(n=40, names=("cat", "dog", "bird"), *, ids=None, seed=0, flagged=6, k=4, **changes) -> Case:
    """Return a consistent audit of ``n`` rows; row 0 is the worst, rows below ``flagged`` are flagged."""
    rng = np.random.default_rng(seed)
    n_classes = len(names)
    given = np.arange(n) % n_classes
    suggested = (given + 1) % n_classes
    score = np.linspace(0.02, 0.98, n)
    columns = {name: [None] * n for name in issue_schema(pa.string(), ()).names}
    columns |= {
        "id": list(ids) if ids is not None else [f"row-{i}" for i in range(n)],
        "given_label": [names[c] for c in given],
        "suggested_label": [names[c] for c in suggested],
        "label_score": score.tolist(),
        "is_label_issue": [i < flagged for i in range(n)],
        "is_assessed": [True] * n,
        "rank": list(range(1, n + 1)),
        "alternative_labels": [[names[c]] for c in suggested],
        "alternative_probs": [[float(1 - s)] for s in score],
        "self_confidence": rng.random(n).tolist(),
    }
    for issue in ISSUE_TYPES:
        columns[f"is_{issue.name}_issue"] = [False] * n
    columns |= changes
    label_type = pa.int64() if isinstance(names[0], int) else pa.string()
    schema = issue_schema(label_type, ("self_confidence",))
    issues = pa.table({f.name: pa.array(columns[f.name], f.type) for f in schema}, schema=schema)
    wrong, rows = float(np.sum(1 - score)), max(1, n)
    off = 0.3 / max(1, n_classes - 1)
    transition = np.where(np.eye(n_classes, dtype=bool), 0.7 if n_classes > 1 else 1.0, off)
    classes = tuple(
        ClassSummary(name, int(np.sum(given == c)), int(np.sum(given == c)), 1, Estimate(2, 1, 3), names[0])
        for c, name in enumerate(names)
    )
    summary = AuditSummary(
        n_samples=n,
        n_labelled=n,
        n_assessed=n,
        n_flagged=flagged,
        class_names=tuple(names),
        expected_wrong=Estimate(wrong, 0.9 * wrong, 1.1 * wrong),
        noise_rate=Estimate(wrong / rows, 0.9 * wrong / rows, 1.1 * wrong / rows),
        flag_threshold=0.15,
        flag_precision=Estimate(0.92, 0.85, 0.97),
        precision_at={10: Estimate(0.9, 0.8, 0.95), 30: Estimate(0.6, 0.5, 0.7)},
        transition=transition,
        class_prior=np.full(n_classes, 1 / n_classes),
        classes=classes,
        issue_counts={issue.name: sum(columns[f"is_{issue.name}_issue"]) for issue in ISSUE_TYPES},
    )
    neighbors = np.stack([(np.arange(n) + step + 1) % n for step in range(k)], axis=1)
    return Case(issues, summary, None, neighbors)


def with_inputs(case: Case, **inputs: FakeInput) -> Case:
    """Return the case with a data set that holds the inputs."""
    n = case.issues.num_rows
    names = case.summary.class_names
    codes = [names.index(label) for label in case.issues["given_label"].to_pylist()]
    splits = ["train" if i % 2 else "test" for i in range(n)]
    table = pa.table(
        {
            "id": case.issues["id"],
            "label": pa.array(codes, pa.int32()),
            "split": pa.array(splits, pa.string()),
            "group": pa.nulls(n, pa.string()),
        }
    )
    case.dataset = Dataset(table, names, inputs=inputs)
    return case


@pytest.fixture
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture
def add_inputs() -> Callable[..., Case]:
    return with_inputs


@pytest.fixture
def fake_pictures() -> Callable[..., FakeInput]:
    return pictures


@pytest.fixture
def fake_input() -> type[FakeInput]:
    return FakeInput


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Page]:
    """Return a function that writes the report of a case and parses it."""

    def write(case: Case, **options) -> Page:
        path = tmp_path / "report.html"
        write_report(
            path,
            source=case.source,
            summary=case.summary,
            issues=case.issues,
            dataset=case.dataset,
            neighbors=case.neighbors,
            **options,
        )
        return parse(path.read_text(encoding="utf-8"))

    return write


@pytest.fixture
def unreadable() -> Callable[[int, str], Unreadable]:
    return Unreadable
