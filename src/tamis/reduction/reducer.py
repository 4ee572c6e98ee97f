"""What every reduction is: a scikit-learn transformer that is saved without pickle."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from tamis.errors import InputError, NotFittedError
from tamis.runs import atomic_path
from tamis.types import FloatArray

_BLOCK = 4096
"""Rows that are transformed together."""


# scikit-learn comes without types.
class Reducer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Base of reductions: fewer numbers a row, learned without labels.

    Attributes
    ----------
    n_features_in_ : int
    """

    n_features_in_: int
    n_components: int

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:  # noqa: N803 (scikit-learn's name)
        """Learn the reduction.

        Parameters
        ----------
        X : (n, d) float
            Finite, n >= 2.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        InputError
            ``X`` cannot be used, or a parameter is out of its range.
        """
        self._learn(self._checked(X, reset=True))
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:  # noqa: N803 (scikit-learn's name)
        """Return the rows with ``n_components`` numbers each.

        Parameters
        ----------
        X : (n, d) float
            As many columns as ``fit`` saw.

        Returns
        -------
        (n, n_components) float
            float64 for float64 rows, else float32. A row's numbers depend on no other row.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InputError
            Another number of columns, NaN or infinity.
        """
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first, or load a saved one")
        rows = self._checked(X, reset=False)
        blocks = [self._project(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)]
        reduced: FloatArray = np.concatenate(blocks).astype(rows.dtype, copy=False)
        return reduced

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted reduction to one safetensors file; `load` reads it back.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors``. Numbers are the file's tensors, parameters JSON in its header.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InputError
            The path ends in something else.
        """
        from safetensors.torch import save_file

        target = Path(path)
        if target.suffix != ".safetensors":
            raise InputError(f"path is {target.name!r}; a reduction is one file that ends in .safetensors")
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit before save")
        head = {"kind": type(self).__name__, "n_features": self.n_features_in_, "params": self.get_params()}
        tensors = {name: tensor.contiguous() for name, tensor in self._tensors().items()}
        with atomic_path(target) as temporary:
            save_file(tensors, temporary, metadata={"tamis": json.dumps(head, allow_nan=False)})
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a reduction back that `save` wrote.

        Raises
        ------
        InputError
            There is no such file, or it holds something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                head = json.loads((file.metadata() or {}).get("tamis", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(f"{path} cannot be read ({error}); give a file written by save") from error
        if head.get("kind") != cls.__name__:
            raise InputError(f"{path} holds {head.get('kind', 'no reduction')}, not {cls.__name__}")
        reducer = cls(**head["params"])
        reducer.n_features_in_ = head["n_features"]
        reducer._restore(tensors)
        return reducer

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def _checked(self, X: npt.ArrayLike, *, reset: bool) -> FloatArray:  # noqa: N803 (scikit-learn's name)
        try:
            rows: FloatArray = validate_data(
                self, X, dtype=[np.float32, np.float64], ensure_min_samples=2 if reset else 1, reset=reset
            )
        except ValueError as error:
            raise InputError(f"{type(self).__name__}: {error}") from error
        return rows

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn which types stay as they are."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @abstractmethod
    def _learn(self, rows: FloatArray) -> None:
        """Set what `_project` and `_tensors` need."""

    @abstractmethod
    def _project(self, rows: FloatArray) -> FloatArray:
        """Return one block of rows reduced, computed in float64."""

    @abstractmethod
    def _tensors(self) -> Mapping[str, torch.Tensor]:
        """Return everything learned."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take back what `_tensors` gave."""
