"""The summary of an audit, computed from its issue table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tamis.auditing.estimates import expected_precision, expected_wrong
from tamis.auditing.evidence import Evidence
from tamis.auditing.rows import Rows
from tamis.auditing.table import FLAG_THRESHOLD
from tamis.issues.schema import ISSUE_TYPES
from tamis.issues.summary import AuditSummary, ClassSummary
from tamis.types import BoolArray, Estimate, FloatArray

_CUTS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Scores:
    """Columns of the issue table that the numbers are computed from, assessed rows only."""

    def __init__(self, issues: pa.Table) -> None:
        self.is_assessed: BoolArray = issues.column("is_assessed").to_numpy()
        kept = issues.filter(pa.array(self.is_assessed))
        self.score: FloatArray = kept.column("label_score").to_numpy()
        has_ends = "label_score_low" in issues.column_names
        self.low: FloatArray = kept.column("label_score_low").to_numpy() if has_ends else self.score
        self.high: FloatArray = kept.column("label_score_high").to_numpy() if has_ends else self.score
        self.is_flagged: BoolArray = kept.column("is_label_issue").to_numpy()
        self.rank = kept.column("rank").to_numpy()

    def wrong(self, chosen: BoolArray | None = None) -> Estimate | None:
        """Return the expected number of wrong labels among the chosen assessed rows."""
        rows = slice(None) if chosen is None else chosen
        return expected_wrong(self.score[rows], self.low[rows], self.high[rows])

    def precision(self, chosen: BoolArray) -> Estimate | None:
        """Return the expected share of wrong labels among the chosen assessed rows."""
        return expected_precision(self.score[chosen], self.low[chosen], self.high[chosen])

    def precision_at(self, k: int) -> Estimate | None:
        """Return the expected share of wrong labels among the ``k`` most suspicious rows."""
        return self.precision(self.rank <= k)


def summarise(
    issues: pa.Table,
    rows: Rows,
    evidence: Evidence | None,
    *,
    class_names: Sequence[str | int],
    notes: Sequence[str],
    timings: Mapping[str, float],
) -> AuditSummary:
    """Return the summary of an issue table."""
    scores = Scores(issues)
    wrong = scores.wrong()
    n_assessed = int(scores.is_assessed.sum())
    rate = None if wrong is None else Estimate(*(value / n_assessed for value in wrong))
    counts = {"label": int(scores.is_flagged.sum())}
    for issue in ISSUE_TYPES:
        counts[issue.name] = int(issues.column(f"is_{issue.name}_issue").to_numpy().sum())
    reasons = Counter(str(reason) for reason in rows.reasons if reason is not None)
    transition, prior = _full_transition(rows, evidence, len(class_names))
    return AuditSummary(
        n_samples=issues.num_rows,
        n_labelled=issues.num_rows - issues.column("given_label").null_count,
        n_assessed=n_assessed,
        n_flagged=counts["label"],
        class_names=tuple(class_names),
        expected_wrong=wrong,
        noise_rate=rate,
        flag_threshold=FLAG_THRESHOLD,
        flag_precision=scores.precision(scores.is_flagged),
        precision_at={
            k: value for k in _CUTS if k <= n_assessed and (value := scores.precision_at(k)) is not None
        },
        transition=transition,
        class_prior=prior,
        classes=_classes(issues, rows, evidence, scores, class_names),
        issue_counts=counts,
        not_assessed=dict(sorted(reasons.items())),
        notes=tuple(dict.fromkeys(notes)),
        timings=dict(timings),
    )


def _full_transition(
    rows: Rows, evidence: Evidence | None, n_classes: int
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return P(given | true) and P(true) over all classes; those not assessed keep their labels."""
    if evidence is None:
        return None, None
    transition = np.eye(n_classes)
    transition[np.ix_(rows.classes, rows.classes)] = evidence.transition
    prior = np.zeros(n_classes)
    prior[rows.classes] = evidence.posterior.mean(axis=0, dtype=np.float64)
    return transition, prior


def _classes(
    issues: pa.Table,
    rows: Rows,
    evidence: Evidence | None,
    scores: Scores,
    class_names: Sequence[str | int],
) -> tuple[ClassSummary, ...]:
    given = Counter(issues.column("given_label").to_pylist())
    order = np.argsort(rows.rows)  # assessed rows in data-set order, as in `scores`
    codes = rows.classes[rows.codes[order]] if len(rows.rows) else np.zeros(0, dtype=np.int64)
    confused = _confused_with(rows, evidence)
    result = []
    for code, name in enumerate(class_names):
        own = codes == code
        other = confused.get(code)
        result.append(
            ClassSummary(
                name=name,
                n_given=given.get(name, 0),
                n_assessed=int(own.sum()),
                n_flagged=int(scores.is_flagged[own].sum()),
                expected_wrong=scores.wrong(own),
                confused_with=None if other is None else class_names[other],
            )
        )
    return tuple(result)


def _confused_with(rows: Rows, evidence: Evidence | None) -> dict[int, int]:
    """Return for each given class the class that its wrong labels most probably belong to."""
    if evidence is None:
        return {}
    found: dict[int, int] = {}
    for place, code in enumerate(rows.classes):
        mass = evidence.posterior[rows.codes == place].sum(axis=0, dtype=np.float64)
        mass[place] = 0
        if mass.max() >= 0.5:  # half a label: less is no confusion to speak of
            found[int(code)] = int(rows.classes[int(mass.argmax())])
    return found
