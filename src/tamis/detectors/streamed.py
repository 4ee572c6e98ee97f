"""Detectors whose evidence is a sum over rows: in one piece, in blocks, or merged from many workers."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from tamis.detectors.base import FeatureDetector, Verdict
from tamis.errors import InputError, NotFittedError
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.types import FloatArray, IntArray


class ClassState(Protocol):
    """Sums over rows, kept per class."""

    def partial_fit(self, features: FloatArray, labels: IntArray) -> Self:
        """Add (n, d) features with (n,) class codes."""

    def merge(self, other: Self) -> Self:
        """Add the rows of another state."""

    def reindexed(self, codes: torch.Tensor, n_classes: int) -> Self:
        """Return a state of ``n_classes`` classes in which class ``k`` has become ``codes[k]``."""


S = TypeVar("S", bound=ClassState)
Judge: TypeAlias = Callable[[FloatArray, IntArray], Verdict]


class StreamedDetector(FeatureDetector, Generic[S]):
    """Detector on features and labels in two passes: sum blocks of rows, then score blocks of rows.

    ``fit`` does both at once. For data that come in pieces: ``partial_fit`` on every piece, in any order and
    on any number of workers, ``merge`` the workers' detectors, then ``score`` the pieces. A subclass says
    what the empty state is, and how rows are judged by a full one.

    Attributes
    ----------
    state_ : object
        The sums.
    """

    state_: S
    memory_budget: str | int | None

    def partial_fit(
        self,
        X: npt.ArrayLike,  # noqa: N803 (scikit-learn's name)
        y: npt.ArrayLike,
        classes: npt.ArrayLike | None = None,
    ) -> Self:
        """Add a block of rows to the sums; scores what was fitted before no more.

        Parameters
        ----------
        X : (n, d) float
            Finite features.
        y : (n,) labels
        classes : (K,) labels, optional
            Classes that later blocks may bring; unknown ones are added as they come all the same.

        Raises
        ------
        InputError
            Wrong shapes, NaN or infinity, missing labels, or labels of another type than before.
        """
        features, labels = self._validated(X, y, is_first="state_" not in vars(self))
        given = labels if classes is None else np.concatenate([labels, np.asarray(classes)])
        if "state_" not in vars(self):
            self.classes_ = np.unique(given)
            self.state_ = self._empty(len(self.classes_), features.shape[1])
        else:
            self._grow(given)
        self._add(features, np.searchsorted(self.classes_, labels))
        return self

    def merge(self, other: Self) -> Self:
        """Add the rows that another detector has seen; that one stays as it is.

        Raises
        ------
        InputError
            Another kind of detector, other parameters, another number of features, or other types of labels.
        NotFittedError
            One of the two has seen no rows.
        """
        is_alike = type(other) is type(self)
        if not is_alike or BaseEstimator.get_params(other) != BaseEstimator.get_params(self):
            raise InputError(f"cannot merge {other!r} into {self!r}; both must be made alike")
        self._check_has_rows()
        other._check_has_rows()
        if other.n_features_in_ != self.n_features_in_:
            raise InputError(
                f"the other detector has seen {other.n_features_in_} features, this one "
                f"{self.n_features_in_}; both must see the same columns"
            )
        self._grow(other.classes_)
        codes = torch.from_numpy(np.searchsorted(self.classes_, other.classes_))
        self.state_.merge(other.state_.reindexed(codes, len(self.classes_)))
        return self

    def score(
        self,
        X: npt.ArrayLike,  # noqa: N803 (scikit-learn's name)
        y: npt.ArrayLike,
        *,
        seen: bool = True,
    ) -> FloatArray:
        """Return the clean scores of rows, as ``fit`` would give them.

        Parameters
        ----------
        X : (n, d) float
        y : (n,) labels
            A label that was never seen is a class without members.
        seen : bool
            The rows are among those summed: each is judged without itself. False for new rows.

        Returns
        -------
        (n,) float64 array
            Higher = cleaner.

        Raises
        ------
        InputError
            See `partial_fit`.
        NotFittedError
            No rows have been seen.
        """
        return self.verdict(X, y, seen=seen).clean_scores

    def verdict(
        self,
        X: npt.ArrayLike,  # noqa: N803 (scikit-learn's name)
        y: npt.ArrayLike,
        *,
        seen: bool = True,
    ) -> Verdict:
        """Return what `score` returns, and suggested codes that index ``np.union1d(classes_, y)``."""
        self._check_has_rows()
        features, labels = self._validated(X, y, is_first=False)
        judge = self
        if not np.isin(labels, self.classes_).all():
            judge = copy.copy(self)
            judge._grow(labels)
        return judge._judge_blocks(features, np.searchsorted(judge.classes_, labels), seen=seen)

    @abstractmethod
    def _empty(self, n_classes: int, n_features: int) -> S:
        """Return the state before any rows; refuse illegal parameters."""

    @abstractmethod
    def _judge(self, *, seen: bool) -> Judge:
        """Return what gives the verdict on a block of rows with (b,) label codes."""

    def _assess(self, features: FloatArray, labels: IntArray, n_classes: int) -> Verdict:
        self.state_ = self._empty(n_classes, features.shape[1])
        self._add(features, labels)
        return self._judge_blocks(features, labels, seen=True)

    def _add(self, features: FloatArray, labels: IntArray) -> None:
        step = self._block_rows(features.shape[1])
        for start in range(0, len(features), step):
            self.state_.partial_fit(features[start : start + step], labels[start : start + step])

    def _judge_blocks(self, features: FloatArray, labels: IntArray, *, seen: bool) -> Verdict:
        step, judge = self._block_rows(features.shape[1]), self._judge(seen=seen)
        parts = [
            judge(features[start : start + step], labels[start : start + step])
            for start in range(0, len(features), step)
        ]
        return Verdict(
            np.concatenate([part.clean_scores for part in parts]),
            np.concatenate([part.suggested for part in parts]),
        )

    def _block_rows(self, n_features: int) -> int:
        # float64 rows and a few matrices of theirs, and as many of the scores of a block of classes.
        cells = 6 * n_features + 4 * min(len(self.classes_), CLASS_BLOCK)
        return rows_per_block(8 * cells, parse_memory_budget(self.memory_budget))

    def _grow(self, labels: npt.NDArray[np.generic]) -> None:
        """Make every label a class."""
        if _kind(labels) != _kind(self.classes_):
            raise InputError(
                f"labels have dtype {labels.dtype}, those before {self.classes_.dtype}; use one type of names"
            )
        known, self.classes_ = self.classes_, np.union1d(self.classes_, labels)
        if len(known) < len(self.classes_):
            codes = torch.from_numpy(np.searchsorted(self.classes_, known))
            self.state_ = self.state_.reindexed(codes, len(self.classes_))

    def _validated(
        self, given_features: npt.ArrayLike, given_labels: npt.ArrayLike, *, is_first: bool
    ) -> tuple[FloatArray, npt.NDArray[np.generic]]:
        try:
            features, labels = validate_data(
                self, given_features, given_labels, dtype=[np.float32, np.float64], reset=is_first
            )
            check_classification_targets(labels)
        except ValueError as error:
            raise InputError(f"{type(self).__name__}: {error}") from error
        return features, labels

    def _check_has_rows(self) -> None:
        if "state_" not in vars(self):
            raise NotFittedError(f"{type(self).__name__} has seen no rows; call fit or partial_fit first")


CLASS_BLOCK = 4096
"""Classes that are scored at a time."""


def _kind(labels: npt.NDArray[np.generic]) -> str:
    return "number" if labels.dtype.kind in "biuf" else "text"
