"""One audit of features and labels by tamis or by cleanlab's usual route, and how right it was.

    python benchmarks/verdicts.py tamis features.npy labels.npy verdict.npz

runs one of them in a process of its own, for `measuring.measure`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tamis.metrics.calibration import expected_calibration_error
from tamis.metrics.ranking import average_precision


@dataclass(frozen=True)
class Verdict:
    """What a tool says about the labels.

    Attributes
    ----------
    score : (n,) float64
        Lower = more suspicious, in [0, 1]; NaN where the row was not assessed.
    is_flagged : (n,) bool
    rates : (4,) float64
        Estimated share of wrong labels, the ends of its interval, and the confident joint's estimate; NaN
        where the tool gives none.
    """

    score: npt.NDArray[np.float64]
    is_flagged: npt.NDArray[np.bool_]
    rates: npt.NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write the verdict as an npz file."""
        np.savez(path, score=self.score, is_flagged=self.is_flagged, rates=self.rates)

    @classmethod
    def load(cls, path: Path) -> Verdict:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["score"], stored["is_flagged"], stored["rates"])


def audit_verdict(features: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Verdict:
    """Audit with every option at its default."""
    import tamis

    audit = tamis.audit(features=features, labels=labels)
    rate = audit.summary.noise_rate
    rates = np.array([np.nan] * 4 if rate is None else [*rate, np.nan])
    score = audit.issues.column("label_score").to_numpy().astype(np.float64)
    return Verdict(score, audit.issues.column("is_label_issue").to_numpy(), rates)


def cleanlab_verdict(features: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Verdict:
    """Return cleanlab's defaults on cross-validated logistic regression of standardised features."""
    from cleanlab.count import estimate_joint
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    probs = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
    score = get_label_quality_scores(labels, probs, method="self_confidence")
    is_flagged = find_label_issues(labels, probs)
    joint = 1.0 - float(np.trace(estimate_joint(labels, probs)))
    return Verdict(score, is_flagged, np.array([is_flagged.mean(), np.nan, np.nan, joint]))


TOOLS: dict[str, Callable[[npt.NDArray[np.floating], npt.NDArray[np.integer]], Verdict]] = {
    "tamis": audit_verdict,
    "cleanlab": cleanlab_verdict,
}


def judge(verdict: Verdict, is_wrong: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """Return the figures of a verdict as cells; None where one has no meaning: nothing wrong, or flagged."""
    is_assessed = ~np.isnan(verdict.score)
    n_flagged, n_wrong = int(verdict.is_flagged.sum()), int(is_wrong.sum())
    n_hits = int((verdict.is_flagged & is_wrong).sum())
    rates = [None if np.isnan(rate) else float(rate) for rate in verdict.rates]
    # Rows that were not assessed come last: whoever reads the ranking never sees them.
    scores = np.where(is_assessed, verdict.score, np.inf)
    return {
        "ap": average_precision(scores, is_wrong) if n_wrong else None,
        "flagged": n_flagged / len(is_wrong),
        "precision": n_hits / n_flagged if n_flagged else None,
        "recall": n_hits / n_wrong if n_wrong else None,
        "f1": 2 * n_hits / (n_flagged + n_wrong) if n_wrong else None,
        "true_rate": n_wrong / len(is_wrong),
        "estimated": rates[0],
        "low": rates[1],
        "high": rates[2],
        "confident_joint": rates[3],
        "ece": expected_calibration_error(verdict.score[is_assessed], ~is_wrong[is_assessed]),
        "assessed": float(is_assessed.mean()),
    }


def main() -> int:
    """Run one tool on two .npy files and write its verdict."""
    tool, features, labels, out = sys.argv[1:]
    arrays = (np.load(path, allow_pickle=False) for path in (features, labels))
    TOOLS[tool](*arrays).save(Path(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
