"""The section of a report about annotators: who answered how often, and how well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyarrow as pa

from tamis.reporting.wording import Shown, count, percent, shown

MOST_ANNOTATORS = 50


@dataclass(frozen=True)
class AnnotatorRow:
    """One annotator; ``share`` is the quality times 100, None where unknown."""

    name: Shown
    n_answers: str
    quality: str
    share: float | None


def annotator_rows(annotators: pa.Table | None) -> tuple[AnnotatorRow, ...]:
    """Return the annotators with the lowest quality, worst first, at most fifty.

    Parameters
    ----------
    annotators : pyarrow.Table or None
        Columns worker, n_answers, quality.

    Examples
    --------
    >>> table = pa.table({"worker": ["a", "b"], "n_answers": [9, 5], "quality": [0.9, 0.4]})
    >>> [row.name.text for row in annotator_rows(table)]
    ['b', 'a']
    """
    if annotators is None:
        return ()
    worst = annotators.sort_by([("quality", "ascending"), ("worker", "ascending")]).slice(0, MOST_ANNOTATORS)
    rows = []
    for each in worst.to_pylist():
        quality = each["quality"]
        is_known = quality is not None and math.isfinite(quality)
        rows.append(
            AnnotatorRow(
                shown(each["worker"]),
                count(each["n_answers"]),
                percent(quality) if is_known else "unknown",
                100 * quality if is_known else None,
            )
        )
    return tuple(rows)
