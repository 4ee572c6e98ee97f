"""Memories of past embeddings."""

from __future__ import annotations

from tamis.memory.class_variances import ClassVariances
from tamis.memory.dataset_memory import DatasetMemory
from tamis.memory.embedding_memory import EmbeddingMemory, MemoryRows

__all__ = ["ClassVariances", "DatasetMemory", "EmbeddingMemory", "MemoryRows"]
