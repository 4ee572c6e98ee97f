"""Class probabilities learned from the given labels on frozen image features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.detectors.canonical_order import canonical_order
from tamis.detectors.unit_rows import unit_rows
from tamis.errors import InputError
from tamis.statistics.folds import assign_folds
from tamis.types import FloatArray, IntArray

_BLOCK_ROWS = 65_536


def visual_probabilities(
    features: FloatArray,
    labels: IntArray,
    n_classes: int,
    *,
    cv: int | None = None,
) -> npt.NDArray[np.float64]:
    """Return P(class | features) of a logistic regression in which every class weighs the same.

    scikit-learn's, on features of unit length: L2 penalty, C = 1, ``class_weight="balanced"``. Rows and
    classes are laid in an order of their content first: neither their order nor the codes of classes matter.

    Parameters
    ----------
    features : (n, d) float
    labels : (n,) int
        Codes 0..n_classes - 1.
    n_classes : int
    cv : int, optional
        Folds; None predicts the rows that were trained on, as published. Rows with equal features share
        their fold.

    Returns
    -------
    (n, n_classes) float64 array
        Rows sum to 1. Columns of classes without a training row are 0.

    Raises
    ------
    InputError
        ``cv`` is 1 or less, or more than there are rows.

    Examples
    --------
    >>> probs = visual_probabilities(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 2]), 3)
    >>> probs.round(2)
    array([[0.6, 0. , 0.4],
           [0.4, 0. , 0.6]])
    """
    if cv is not None and not 2 <= cv <= len(labels):
        raise InputError(f"lr_cv is {cv}; expected None, or from 2 folds up to one a row ({len(labels)})")
    order = canonical_order(features, labels, n_classes)
    rows, classes = order.rows, order.classes
    wide = unit_rows(np.asarray(features)[rows])
    codes = np.argsort(classes)[labels[rows]]
    ordered = np.zeros((len(rows), n_classes))
    if cv is None:
        _predict(wide, codes, wide, ordered)
    else:
        _cross_predict(wide, codes, assign_folds(codes, order.copies()[rows], cv), ordered)
    probs = np.empty_like(ordered)
    probs[np.ix_(rows, classes)] = ordered
    return probs


def _cross_predict(features: FloatArray, codes: IntArray, folds: IntArray, out: FloatArray) -> None:
    for fold in np.unique(folds):
        is_held = folds == fold
        part = np.zeros((int(is_held.sum()), out.shape[1]))
        _predict(features[~is_held], codes[~is_held], features[is_held], part)
        out[is_held] = part


def _predict(train: FloatArray, codes: IntArray, held: FloatArray, out: FloatArray) -> None:
    """Write the probabilities of the held rows into the columns of the classes that were trained on."""
    classes = np.unique(codes)
    if len(classes) < 2:
        out[:, classes] = 1.0
        return
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=10_000).fit(train, codes)
    for start in range(0, len(held), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        out[part, classes] = model.predict_proba(held[part])
