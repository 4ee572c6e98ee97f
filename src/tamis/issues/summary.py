"""What an audit says in numbers: the summary beside the issue table, shown by the report and the CLI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
