"""How right an answer was."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tamis.benchmarks.candidates import Answer
from tamis.benchmarks.material import Material
from tamis.errors import InputError
from tamis.metrics.calibration import expected_calibration_error
from tamis.metrics.ranking import auroc, average_precision
from tamis.types import BoolArray

Cell: TypeAlias = str | int | float | bool | None


def judge(answer: Answer, material: Material) -> dict[str, Cell]:
    """Return the figures of an answer, over rows whose truth is known and was not told to the candidate.

    ``ap`` and ``auroc`` of the ranking; ``precision``, ``recall`` and ``f1`` at the flag; ``ece`` where all
    scores lie in [0, 1]: the error made by reading them as P(the label is right); ``suggested_right``: share
    of suggested labels that are true. What has no meaning (nothing wrong, no flag) is left out.

    Raises
    ------
    InputError
        The answer has another number of rows than the material, or a score that is no finite number.
    """
    n_rows = len(material.labels)
    for name in ("clean_scores", "is_issue", "suggested"):
        array = getattr(answer, name)
        if array is not None and array.shape != (n_rows,):
            raise InputError(f"{name} has shape {array.shape}; expected ({n_rows},), one a row")
    if not np.isfinite(answer.clean_scores).all():
        first = int(np.isfinite(answer.clean_scores).argmin())
        raise InputError(f"clean_scores row {first} is {answer.clean_scores[first]}; expected finite numbers")
    counted = material.is_known if answer.left_out is None else material.is_known & ~answer.left_out
    scores, is_wrong = answer.clean_scores[counted], material.is_wrong[counted]
    row: dict[str, Cell] = {}
    if is_wrong.any():
        row["ap"] = average_precision(scores, is_wrong)
    if is_wrong.any() and not is_wrong.all():
        row["auroc"] = auroc(scores, is_wrong)
    if answer.is_issue is not None:
        row |= _at_the_flag(answer.is_issue[counted], is_wrong)
    if len(scores) and scores.min() >= 0 and scores.max() <= 1:
        row["ece"] = expected_calibration_error(scores, ~is_wrong)
    if answer.suggested is not None and material.truth is not None:
        is_named = counted & (material.truth >= 0)
        if is_named.any():
            row["suggested_right"] = float((answer.suggested == material.truth)[is_named].mean())
    return row


def _at_the_flag(is_issue: BoolArray, is_wrong: BoolArray) -> dict[str, Cell]:
    hits, flagged, wrong = (int(mask.sum()) for mask in (is_issue & is_wrong, is_issue, is_wrong))
    figures: dict[str, Cell] = {}
    if flagged:
        figures["precision"] = hits / flagged
    if wrong:
        figures["recall"] = hits / wrong
    if flagged or wrong:
        figures["f1"] = 2 * hits / (flagged + wrong)
    return figures
