"""Whole evaluations of embeddings: retrieval metrics, and how well clusters agree with the labels."""

from tamis.evaluation.clusters import ClusterAgreement, cluster_agreement, k_means_clusters
from tamis.evaluation.retrieval import RetrievalMetrics, retrieval_metrics

__all__ = [
    "ClusterAgreement",
    "RetrievalMetrics",
    "cluster_agreement",
    "k_means_clusters",
    "retrieval_metrics",
]
