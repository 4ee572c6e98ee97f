"""Fewer numbers a row, learned without labels: principal components and TLDR."""

from __future__ import annotations

from tamis.reduction.lars import LARS
from tamis.reduction.pairs import neighbor_graph
from tamis.reduction.pca import PCA
from tamis.reduction.reducer import Reducer
from tamis.reduction.tldr import TLDR

__all__ = ["LARS", "PCA", "TLDR", "Reducer", "neighbor_graph"]
