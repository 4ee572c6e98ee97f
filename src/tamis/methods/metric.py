"""Metric learning, composed: a loss, a memory, a filter."""

from __future__ import annotations

from tamis.methods.base import METHODS
from tamis.methods.metric_learning import MetricLearning
from tamis.registry import Facts


@METHODS.register(
    "metric",
    Facts(
        "Metric learning with a chosen loss, memory and filter",
        task="retrieval",
        inputs=("any",),
        year=2020,
        paper="Wang, Zhang, Huang, Scott. Cross-batch memory for embedding learning. CVPR 2020 (the memory).",
    ),
)
class Metric(MetricLearning):
    """A loss of metric learning; with ``memory`` also against past embeddings, with ``selector`` filtered.

    Parameters, see `tamis.methods.metric_learning.MetricLearning`; by default a plain contrastive loss
    without memory and without filter.
    """
