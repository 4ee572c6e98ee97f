"""What every noise model returns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tamis.noise.transition import row_shares
from tamis.types import BoolArray, FloatArray, IntArray


class Confusion(NamedTuple):
    """One kind of planted error: how many samples of class ``true`` carry ``noisy``, and what share."""

    true: int
    noisy: int
    n_samples: int
    share: float


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels with planted errors, and the truth about them. Arrays are read-only.

    Attributes
    ----------
    labels : (n,) int64
        The noisy label codes.
    is_wrong : (n,) bool
        True where the label is wrong: it differs from the true one, or the sample is open.
    is_open : (n,) bool
        True where the sample's true class is none of the classes of ``labels`` (open-set noise).
    true_labels : (n,) int64
        The codes given to the model; -1 where the sample itself was replaced by one of no class.
    nominal_rate : float
        The rate that was asked for, in [0, 1].
    realised_rate : float
        Share of samples that are wrong, in [0, 1]; 0 for no samples.
    n_classes, n_true_classes : int
        Number of classes of ``labels`` and of ``true_labels``: K and, nearly always, K.
    expected_rate : float or None
        The realised rate to be expected of the model on these clean labels; None where it is not known.
    model, convention : str
        Name of the model, and which of the readings in use of that name was followed.
    transition : (K, K) float64 or None
        P(noisy = j | true = i) of the model, rows sum to 1; None where it differs from sample to sample.
        Computed when it is first asked for, like the next.
    realised_transition : (K, K) float64
        The same as it came out: counts divided by the size of the true class. NaN in the row of a class
        without a sample. Shape (old classes, new classes) where the model changes the set of classes.
    sample_probs : (n, K) float64 or None
        P(noisy = j) of every sample, where the model has one and was asked to keep it.
    class_ids : (K,) int64 or None
        Code of the true class behind every code of ``labels`` where the model renumbers classes, else None.
    replacement : (n,) int64 or None
        Row of the foreign data whose input takes this place, -1 = keep; None where nothing is replaced.
    details : mapping of str to float
        Further counts and shares of the model.
    digest : str
        32 hexadecimal digits, a hash of ``labels``, ``is_wrong``, ``is_open`` and, where it is given,
        ``replacement``: equal on every machine.

    Examples
    --------
    >>> import numpy as np
    >>> noisy = NoisyLabels.from_flips(np.array([0, 1, 1]), np.array([0, 1, 0]), None, nominal_rate=0.3)
    >>> noisy.is_wrong.tolist(), round(noisy.realised_rate, 2)
    ([False, False, True], 0.33)
    >>> noisy.realised_transition
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    labels: IntArray
    is_wrong: BoolArray
    is_open: BoolArray
    true_labels: IntArray
    nominal_rate: float
    n_classes: int
    n_true_classes: int
    expected_rate: float | None = None
    model: str = ""
    convention: str = ""
    transition_rule: Callable[[], FloatArray] | None = field(default=None, repr=False)
    sample_probs: FloatArray | None = None
    class_ids: IntArray | None = None
    replacement: IntArray | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    realised_rate: float = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        arrays = (self.labels, self.is_wrong, self.is_open, self.true_labels)
        for array in (*arrays, self.sample_probs, self.class_ids, self.replacement):
            if array is not None:
                array.flags.writeable = False
        object.__setattr__(self, "realised_rate", _share(self.is_wrong))
        parts = [self.labels.astype("<i8"), self.is_wrong.astype("u1"), self.is_open.astype("u1")]
        if self.replacement is not None:
            parts.append(self.replacement.astype("<i8"))
        content = b"".join(part.tobytes() for part in parts)
        object.__setattr__(self, "digest", hashlib.blake2b(content, digest_size=16).hexdigest())

    @classmethod
    def from_flips(
        cls,
        true: IntArray,
        noisy: IntArray,
        transition: FloatArray | Callable[[], FloatArray] | None,
        *,
        nominal_rate: float,
        n_classes: int | None = None,
        expected_rate: float | None = None,
        model: str = "",
        convention: str = "",
        sample_probs: FloatArray | None = None,
        details: Mapping[str, float] | None = None,
    ) -> NoisyLabels:
        """Return the result of a closed-set model: (n,) true codes became (n,) noisy codes.

        Parameters
        ----------
        true, noisy : (n,) int
        transition : (K, K) float, a function that returns it, or None
            A function is called when the matrix is first asked for.
        nominal_rate, n_classes, expected_rate, model, convention, sample_probs, details
            See the class; ``n_classes`` is by default the largest code plus 1.
        """
        labels, clean = np.array(noisy, dtype=np.int64), np.array(true, dtype=np.int64)
        if n_classes is None:
            n_classes = 1 + max(int(labels.max(initial=0)), int(clean.max(initial=0)))
        rule = transition if callable(transition) or transition is None else _constant(transition)
        return cls(
            labels=labels,
            is_wrong=np.asarray(labels != clean),
            is_open=np.zeros(len(labels), dtype=np.bool_),
            true_labels=clean,
            nominal_rate=float(nominal_rate),
            n_classes=n_classes,
            n_true_classes=n_classes,
            expected_rate=expected_rate,
            model=model,
            convention=convention,
            transition_rule=rule,
            sample_probs=sample_probs,
            details=dict(details or {}),
        )

    @cached_property
    def transition(self) -> FloatArray | None:
        """(K, K) P(noisy = j | true = i) of the model, or None."""
        if self.transition_rule is None:
            return None
        matrix = self.transition_rule()
        matrix.flags.writeable = False
        return matrix

    @cached_property
    def realised_transition(self) -> FloatArray:
        """(K, K) counts divided by the size of the true class; NaN in the row of a class without a sample."""
        is_known = self.true_labels >= 0
        shape = (self.n_true_classes, self.n_classes)
        matrix = row_shares(self.true_labels[is_known], self.labels[is_known], shape)
        matrix.flags.writeable = False
        return matrix

    @property
    def open_rate(self) -> float:
        """Share of samples whose true class is none of the classes."""
        return _share(self.is_open)

    @property
    def closed_rate(self) -> float:
        """Share of samples that carry the label of another class of the set."""
        return _share(self.is_wrong & ~self.is_open)

    def top_confusions(self, n: int = 10) -> list[Confusion]:
        """Return the ``n`` most frequent errors, the largest share of a class first among equal counts.

        ``true`` is a code of the true classes, ``noisy`` one of ``labels``.
        """
        wrong = self.is_wrong & (self.true_labels >= 0)
        pairs, counts = np.unique(
            self.true_labels[wrong] * self.n_classes + self.labels[wrong], return_counts=True
        )
        known = self.true_labels[self.true_labels >= 0]
        sizes = np.bincount(known, minlength=self.n_true_classes)
        true, noisy = np.divmod(pairs, self.n_classes)
        shares = counts / sizes[true]
        order = np.lexsort((pairs, -shares, -counts))[: max(0, n)]
        return [Confusion(int(true[i]), int(noisy[i]), int(counts[i]), float(shares[i])) for i in order]


def _share(mask: BoolArray) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _constant(matrix: FloatArray) -> Callable[[], FloatArray]:
    kept = np.array(matrix, dtype=np.float64)
    return lambda: kept
