"""What counts as predicted probabilities, and what gives them away when they are something else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.statistics.probability_values import NEGATIVE_TOLERANCE, SUM_TOLERANCE, label_codes, value_problems
from tamis.statistics.probability_values import ArrayLike as ArrayLike
from tamis.statistics.rounding import exact_row_sums
from tamis.types import BoolArray, FloatArray, IntArray

_IN_SAMPLE_ROWS = 100
_MOST_PERMUTED_CLASSES = 2000


def probability_tensor(pred_probs: ArrayLike, *, n_classes: int | None = None) -> torch.Tensor:
    """Return predicted probabilities as a checked float tensor whose rows sum to one.

    Parameters
    ----------
    pred_probs : (n, K) float
        Tensors keep their device; float32 and float64 keep their precision, the rest becomes one of them.
    n_classes : int, optional
        Number of columns asked for.

    Returns
    -------
    torch.Tensor
        (n, K), each row divided by its sum. A new tensor; the input is left alone.

    Raises
    ------
    InputError
        Not a table of numbers, NaN or infinite entries, entries outside [0, 1], rows that do not sum to
        one within 1e-3, or another number of columns than ``n_classes``. All problems of the values are
        reported together.

    Examples
    --------
    >>> probability_tensor([[0.5, 0.5], [0.2, 0.8]]).sum(dim=1)
    tensor([1., 1.], dtype=torch.float64)
    """
    probs = _float_tensor(pred_probs)
    if probs.ndim != 2 or probs.shape[0] == 0 or probs.shape[1] == 0:
        shape = tuple(probs.shape)
        raise InputError(f"pred_probs has shape {shape}; expected (samples, classes), at least one of each")
    if n_classes is not None and probs.shape[1] != n_classes:
        raise InputError(
            f"pred_probs has {probs.shape[1]} columns but there are {n_classes} classes; "
            "give one column a class, in class order, also for classes without a sample"
        )
    sums = probs.sum(dim=1)
    problems = _problems(probs, sums)
    if problems:
        raise InputError("; ".join(problems))
    clamped = probs.clamp(min=0.0)
    return clamped.div_(exact_row_sums(clamped).to(clamped.dtype)[:, None])


def _float_tensor(values: ArrayLike) -> torch.Tensor:
    if isinstance(values, torch.Tensor) and not values.is_complex():
        kind = values.dtype if values.dtype in (torch.float32, torch.float64) else torch.float32
        kind = torch.float64 if not values.is_floating_point() else kind
        return values.detach().to(kind)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"pred_probs is not a table of numbers ({error}); give one row a sample") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"pred_probs has dtype {array.dtype}; expected real numbers in [0, 1]")
    # float16 is widened to float32, whole numbers (one-hot rows) to float64.
    target = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    # A read-only array (a memory map) must not become a writable tensor: only then is it copied.
    converted = np.require(array, dtype=target, requirements=["C", "W"])
    return torch.from_numpy(converted)


def _problems(probs: torch.Tensor, sums: torch.Tensor) -> list[str]:
    # One pass each over (n, K) without keeping masks of that size where nothing is wrong.
    is_legal = (
        bool(torch.isfinite(sums).all())
        and bool((sums - 1.0).abs().max() <= SUM_TOLERANCE)
        and float(probs.min()) >= -NEGATIVE_TOLERANCE
        and float(probs.max()) <= 1.0 + SUM_TOLERANCE
    )
    return [] if is_legal else value_problems([probs.cpu().numpy()])


def check_probabilities(
    pred_probs: ArrayLike, labels: ArrayLike | None = None, n_classes: int | None = None
) -> npt.NDArray[np.float64]:
    """Return predicted probabilities as a checked float64 array whose rows sum to one.

    The door for numpy users to `probability_tensor`.

    Parameters
    ----------
    pred_probs : (n, K) float
    labels : (n,) int, optional
        Checked too where given: one label a row, in 0..K-1.
    n_classes : int, optional
        Number of columns asked for.

    Returns
    -------
    (n, K) float64 array

    Raises
    ------
    InputError
        See `probability_tensor` and `label_tensor`.

    Examples
    --------
    >>> check_probabilities([[0.25, 0.75]])
    array([[0.25, 0.75]])
    >>> check_probabilities([[3.2, -1.0]])
    Traceback (most recent call last):
    tamis.errors.InputError: pred_probs row 0 has entries outside [0, 1] ...these look like logits; ...
    """
    probs = probability_tensor(pred_probs, n_classes=n_classes)
    if labels is not None:
        label_tensor(labels, n_samples=probs.shape[0], n_classes=probs.shape[1])
    array: npt.NDArray[np.float64] = probs.to(device="cpu", dtype=torch.float64).numpy()
    # float32 rows divided in float32 sum to one only to 1e-7.
    return array / array.sum(axis=1, keepdims=True) if probs.dtype == torch.float32 else array


def label_tensor(
    labels: ArrayLike, *, n_samples: int, n_classes: int, device: torch.device | None = None
) -> torch.Tensor:
    """Return label codes as a checked (n,) int64 tensor.

    Raises
    ------
    InputError
        Another number of labels than ``n_samples``, labels that are not whole numbers, or codes outside
        0..K-1 (leave unlabelled rows out first).

    Examples
    --------
    >>> label_tensor([0, 2, 1], n_samples=3, n_classes=3)
    tensor([0, 2, 1])
    """
    codes = label_codes(labels, n_samples=n_samples, n_classes=n_classes)
    return torch.as_tensor(codes.astype(np.int64), device=device)


def labelled_probabilities(labels: ArrayLike, pred_probs: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``(labels, pred_probs)`` as checked tensors on one device.

    Examples
    --------
    >>> labelled_probabilities([1], [[0.25, 0.75]])
    (tensor([1]), tensor([[0.2500, 0.7500]], dtype=torch.float64))
    """
    probs = probability_tensor(pred_probs)
    codes = label_tensor(labels, n_samples=probs.shape[0], n_classes=probs.shape[1], device=probs.device)
    return codes, probs


def looks_in_sample(pred_probs: FloatArray, labels: IntArray) -> bool:
    """Say whether probabilities were probably predicted by a model that saw these labels.

    The one sign used: no row of 100 or more has another most likely class than its given label. A model that
    was honest out of sample practically never agrees with every given label, least of all with wrong ones.

    Parameters
    ----------
    pred_probs : (n, K) float
    labels : (n,) int

    Examples
    --------
    >>> labels = np.arange(200) % 2
    >>> looks_in_sample(np.eye(2)[labels], labels)
    True
    """
    if len(labels) < _IN_SAMPLE_ROWS or pred_probs.shape[1] < 2:
        return False
    given = np.take_along_axis(pred_probs, labels[:, None], axis=1)[:, 0]
    return bool((given >= pred_probs.max(axis=1)).all())


def best_column_permutation(pred_probs: FloatArray, labels: IntArray) -> IntArray | None:
    """Return the order of columns that fits the labels far better than the given one, or None.

    Columns without names may come in another class order than the labels. Two halves of the rows each propose
    the assignment of columns to classes with the largest total probability. Classes that both halves move to
    the same other column are judged together: the moved columns must hold three times the probability of the
    given ones, at least 0.1 more, and that by five standard errors, over 20 rows or more.
    Wrong labels alone do not look like that: even with 60 % of them wrong, the given order still fits best.

    Parameters
    ----------
    pred_probs : (n, K) float, rows sum to 1
    labels : (n,) int

    Returns
    -------
    (K,) int64 array or None
        ``pred_probs[:, order]`` has its columns in class order. None where the given order stands, and
        always for more than 2,000 classes.

    Examples
    --------
    >>> labels = np.arange(60) % 3
    >>> best_column_permutation(0.8 * np.eye(3)[(labels + 1) % 3] + 0.2 / 3, labels)
    array([1, 2, 0])
    """
    n_classes = pred_probs.shape[1]
    if n_classes < 2 or n_classes > _MOST_PERMUTED_CLASSES:
        return None
    is_second = _second_half(pred_probs, labels)
    totals = np.zeros((2, n_classes, n_classes))  # [half, class, column] summed probability
    places = torch.from_numpy(is_second * n_classes + labels)
    sums = torch.from_numpy(totals).view(2 * n_classes, n_classes)  # filled in place, block by block
    for start in range(0, len(labels), 65_536):
        part = slice(start, start + 65_536)
        sums.index_add_(0, places[part], torch.from_numpy(pred_probs[part].astype(np.float64)))
    orders = np.stack([_assign(totals[0]), _assign(totals[1])])
    is_moved = (orders[0] == orders[1]) & (orders[0] != np.arange(n_classes))
    judged = np.flatnonzero(is_moved[labels])
    if len(judged) < 20:
        return None
    given = pred_probs[judged, labels[judged]].astype(np.float64)
    moved = pred_probs[judged, orders[0][labels[judged]]].astype(np.float64)
    gain = moved - given
    standard_error = gain.std() / np.sqrt(len(gain))
    is_better = moved.mean() >= 3.0 * given.mean() and gain.mean() >= max(0.1, 5.0 * standard_error)
    return _assign(totals.sum(axis=0)) if is_better else None


def _second_half(pred_probs: FloatArray, labels: IntArray) -> BoolArray:
    # Every other row of each class in an order that depends on the rows' content, not on their place.
    given = pred_probs[np.arange(len(labels)), labels]
    order = np.lexsort((pred_probs.argmax(axis=1), pred_probs.max(axis=1), given, labels))
    is_second = np.zeros(len(labels), dtype=np.bool_)
    is_second[order[1::2]] = True
    return is_second


def _assign(totals: FloatArray) -> IntArray:
    from scipy.optimize import linear_sum_assignment

    # The bonus leaves classes without rows, and exact ties, in their place.
    bonus = 1e-9 * (1.0 + float(totals.max()))
    order: IntArray = linear_sum_assignment(totals + bonus * np.eye(len(totals)), maximize=True)[1]
    return order
