"""What an audit says in numbers: the summary beside the issue table, shown by the report and the CLI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from tamis.types import Estimate, FloatArray


@dataclass(frozen=True)
class ClassSummary:
    """One class of the audit.

    Attributes
    ----------
    name : str or int
    n_given : int
        Rows that carry this label.
    n_assessed : int
        Of those, rows that were assessed.
    n_flagged : int
        Of those, rows flagged as label issues.
    expected_wrong : Estimate or None
        Expected number of wrong labels among the assessed rows of the class.
    confused_with : str, int or None
        The class most often suggested instead, weighted by the probability of being wrong.
    """

    name: str | int
    n_given: int
    n_assessed: int
    n_flagged: int
    expected_wrong: Estimate | None
    confused_with: str | int | None


@dataclass(frozen=True)
class AuditSummary:
    """The numbers of one audit; every count is over rows of the data set.

    Attributes
    ----------
    n_samples, n_labelled, n_assessed, n_flagged : int
    class_names : tuple of str or int
    expected_wrong : Estimate or None
        Expected number of wrong given labels among the assessed rows, None where it cannot be known.
    noise_rate : Estimate or None
        ``expected_wrong`` divided by the assessed rows.
    flag_threshold : float
        Rows with ``label_score`` below it are flagged.
    flag_precision : Estimate or None
        Expected share of wrong labels among the flagged rows.
    precision_at : mapping of k to Estimate
        Expected precision among the k most suspicious rows.
    transition : (K, K) array or None
        Estimate of P(given | true), rows true classes; None where it has no meaning.
    class_prior : (K,) array or None
        Estimate of P(true).
    classes : tuple of ClassSummary
    issue_counts : mapping of issue name to number of rows
        For every issue type of the table, ``label`` included.
    not_assessed : mapping of reason to number of rows
    notes : tuple of str
        Sentences every reader must see: what was approximated, what cannot be known, warnings.
    timings : mapping of stage to seconds
    """

    n_samples: int
    n_labelled: int
    n_assessed: int
    n_flagged: int
    class_names: tuple[str | int, ...]
    expected_wrong: Estimate | None
    noise_rate: Estimate | None
    flag_threshold: float
    flag_precision: Estimate | None
    precision_at: Mapping[int, Estimate] = field(default_factory=dict)
    transition: FloatArray | None = None
    class_prior: FloatArray | None = None
    classes: tuple[ClassSummary, ...] = ()
    issue_counts: Mapping[str, int] = field(default_factory=dict)
    not_assessed: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the summary as JSON values; `from_json` reads it back."""
        values: dict[str, object] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            values[item.name] = value.tolist() if isinstance(value, np.ndarray) else value
        values["precision_at"] = {str(k): list(value) for k, value in self.precision_at.items()}
        values["classes"] = [_class_json(each) for each in self.classes]
        for name in ("expected_wrong", "noise_rate", "flag_precision"):
            value = getattr(self, name)
            values[name] = None if value is None else list(value)
        for name in ("class_names", "notes"):
            values[name] = list(getattr(self, name))
        for name in ("issue_counts", "not_assessed", "timings"):
            values[name] = dict(getattr(self, name))
        return values

    @classmethod
    def from_json(cls, value: object) -> AuditSummary:
        """Return the summary that `to_json` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If the value has another form.
        """
        if not isinstance(value, dict):
            raise ValueError("the summary is not a JSON object")
        values = dict(value)
        for name in ("expected_wrong", "noise_rate", "flag_precision"):
            values[name] = _estimate(values[name])
        for name in ("transition", "class_prior"):
            values[name] = None if values[name] is None else np.asarray(values[name], dtype=np.float64)
        values["precision_at"] = {int(k): Estimate(*each) for k, each in values["precision_at"].items()}
        values["classes"] = tuple(
            ClassSummary(**(each | {"expected_wrong": _estimate(each["expected_wrong"])}))
            for each in values["classes"]
        )
        values["class_names"], values["notes"] = tuple(values["class_names"]), tuple(values["notes"])
        return cls(**values)


def _class_json(summary: ClassSummary) -> dict[str, object]:
    values = {item.name: getattr(summary, item.name) for item in fields(summary)}
    wrong = summary.expected_wrong
    return values | {"expected_wrong": None if wrong is None else list(wrong)}


def _estimate(value: Sequence[float] | None) -> Estimate | None:
    return None if value is None else Estimate(*value)
