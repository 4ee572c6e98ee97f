"""Open-set noise: samples of no class of the set, under labels of the set."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_choice, check_classes, check_codes, check_rate, check_whole
from tamis.noise.draws import below, uniforms
from tamis.noise.hits import EXACT, Exact, lowest, lowest_per_class
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.registry import Facts
from tamis.types import BoolArray, FloatArray, IntArray

OpenLabels: TypeAlias = Literal["keep", "uniform"]


@NOISE_MODELS.register("open_set", Facts(title="Open-set (foreign samples)", inputs=()))
def open_set(
    labels: npt.ArrayLike,
    rate: float = 0.2,
    n_classes: int = 10,
    n_foreign: int | None = None,
    random_state: int = 0,
    *,
    closed_rate: float = 0.0,
    open_labels: OpenLabels = "keep",
    exact: Exact = "none",
) -> NoisyLabels:
    """Return labels for a set of which a share of the samples is to be replaced by foreign ones.

    The number of samples stays. Foreign are samples of another data set, of classes held out of this one,
    or damaged inputs. The model says which rows to replace, and by which foreign rows; `replace_inputs` does
    it. Samples that are not replaced may carry symmetric noise besides.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to ``n_classes - 1``.
    rate : float
        In [0, 1]: the probability that a sample is replaced.
    n_classes : int
        K, at least 2.
    n_foreign : int, optional
        Number of foreign samples to take from, each at most once. Without it ``replacement`` is None and
        the rows in ``is_open`` are for the caller to fill.
    random_state : int
        Seed, 0 to 2**64 - 1.
    closed_rate : float
        In [0, 1 - rate]: the probability that a sample is kept and gets the label of another class, drawn
        uniformly (``"exclude_true"``). Open and closed rows are disjoint.
    open_labels : {"keep", "uniform"}
        Replaced rows keep the label of what stood there, or get a class drawn uniformly.
    exact : {"none", "global", "per_class"}
        How many: each sample on its own; exactly ``trunc(rate * n)`` and ``trunc(closed_rate * n)``;
        the same within every class.

    Returns
    -------
    NoisyLabels
        ``open_rate``, ``closed_rate`` and their sum ``realised_rate``; ``nominal_rate`` is ``rate +
        closed_rate``; ``true_labels`` is -1 where a sample is replaced; ``replacement`` names the foreign
        rows; ``transition`` is that of the samples kept.

    Raises
    ------
    InputError
        If an argument is outside its range, or more samples are replaced than there are foreign ones.

    Examples
    --------
    >>> noisy = open_set([0, 1] * 50, 0.2, n_classes=2, n_foreign=30, closed_rate=0.1, exact="global")
    >>> noisy.open_rate, noisy.closed_rate, int((noisy.replacement >= 0).sum())
    (0.2, 0.1, 20)
    """
    n_classes = check_classes(n_classes)
    true = check_codes(labels, n_classes)
    rate, closed_rate = check_rate(rate), check_rate(closed_rate, "closed_rate")
    if rate + closed_rate > 1 + 1e-12:
        raise InputError(
            f"rate {rate:g} and closed_rate {closed_rate:g} sum to more than 1; lower one of them"
        )
    check_choice(open_labels, "open_labels", ("keep", "uniform"))
    check_choice(exact, "exact", EXACT)
    draws = uniforms(random_state, "open_set", len(true), 2)
    is_open, is_flipped = _split(draws[:, 0], true, (rate, closed_rate), exact)
    other = (true + 1 + below(draws[:, 1], n_classes - 1)) % n_classes
    noisy = np.where(is_flipped, other, true)
    if open_labels == "uniform":
        noisy = np.where(is_open, below(draws[:, 1], n_classes), noisy)
    return NoisyLabels(
        labels=noisy,
        is_wrong=is_open | is_flipped,
        is_open=is_open,
        true_labels=np.where(is_open, -1, true),
        nominal_rate=min(1.0, rate + closed_rate),
        n_classes=n_classes,
        n_true_classes=n_classes,
        expected_rate=_expected(is_open | is_flipped, rate + closed_rate, exact),
        model="open_set",
        convention=f"replaced rows {'keep their labels' if open_labels == 'keep' else 'get uniform labels'}",
        transition_rule=None if rate == 1 else lambda: _transition(closed_rate / (1 - rate), n_classes),
        replacement=None if n_foreign is None else _foreign_rows(is_open, n_foreign, random_state),
        details={"nominal_open_rate": rate, "nominal_closed_rate": closed_rate},
    )


def replace_inputs(
    inputs: npt.ArrayLike, foreign: npt.ArrayLike, noisy: NoisyLabels
) -> npt.NDArray[np.generic]:
    """Return the inputs with foreign ones in the rows that `open_set` chose.

    Parameters
    ----------
    inputs : (n, ...) array
        Images, features, or texts.
    foreign : (n_foreign, ...) array
        Of the same shape a sample.
    noisy : NoisyLabels
        From `open_set` with ``n_foreign=len(foreign)``.

    Returns
    -------
    (n, ...) array
        A copy, in the type that holds both.

    Raises
    ------
    InputError
        If shapes do not fit, or ``noisy`` names no foreign rows.

    Examples
    --------
    >>> noisy = open_set([0, 1], rate=1.0, n_classes=2, n_foreign=2)
    >>> sorted(replace_inputs(["cat", "dog"], ["noise", "logo"], noisy).tolist())
    ['logo', 'noise']
    """
    own, other = np.asarray(inputs), np.asarray(foreign)
    if noisy.replacement is None:
        raise InputError("noisy names no foreign rows; call open_set with n_foreign=len(foreign)")
    if len(own) != len(noisy.labels) or own.shape[1:] != other.shape[1:]:
        raise InputError(
            f"inputs has shape {own.shape} and foreign {other.shape} for {len(noisy.labels)} labels; give "
            "one input a label, and foreign ones of the same shape"
        )
    if noisy.replacement.max(initial=-1) >= len(other):
        raise InputError(f"noisy names foreign row {noisy.replacement.max()} and there are {len(other)}")
    replaced = own.astype(np.result_type(own, other))
    replaced[noisy.is_open] = other[noisy.replacement[noisy.is_open]]
    return replaced


def _split(
    draws: npt.NDArray[np.float64], true: IntArray, rates: tuple[float, float], exact: Exact
) -> tuple[BoolArray, BoolArray]:
    """Return (n,) bool twice: the samples that are replaced, and those that get another class."""
    if exact == "none":
        either = draws < sum(rates)
        is_open = draws < rates[0]
    elif exact == "global":
        counts = [int(each * len(true)) for each in rates]
        is_open, either = lowest(draws, counts[0]), lowest(draws, sum(counts))
    else:
        sizes = np.bincount(true).tolist()
        opened, closed = (np.array([int(each * size) for size in sizes], dtype=np.int64) for each in rates)
        is_open, either = (lowest_per_class(draws, true, each) for each in (opened, opened + closed))
    return is_open, np.asarray(either & ~is_open)


def _expected(is_hit: BoolArray, rate: float, exact: Exact) -> float:
    if not len(is_hit):
        return 0.0
    return min(1.0, rate) if exact == "none" else float(is_hit.mean())


def _foreign_rows(is_open: BoolArray, n_foreign: int, random_state: int) -> IntArray:
    """Return (n,) rows of the foreign data, -1 where a sample stays."""
    n_foreign, n_open = check_whole(n_foreign, "n_foreign", 0), int(is_open.sum())
    if n_open > n_foreign:
        raise InputError(
            f"{n_open} samples are to be replaced and n_foreign is {n_foreign}; give more foreign samples or "
            "a lower rate"
        )
    order = np.argsort(uniforms(random_state, "open_set.foreign", n_foreign, 1)[:, 0], kind="stable")
    rows = np.full(len(is_open), -1)
    rows[is_open] = order[:n_open]
    return rows


def _transition(rate: float, n_classes: int) -> FloatArray:
    transition = np.full((n_classes, n_classes), min(1.0, rate) / (n_classes - 1))
    np.fill_diagonal(transition, 1 - min(1.0, rate))
    return transition
