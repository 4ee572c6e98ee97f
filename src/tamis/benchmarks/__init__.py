"""Benchmarks from a configuration file: data x noise x candidates x seeds, resumable, one table.

Candidates are detectors (``task = "detection"``), classifiers (``task = "training"``) or metric learning
(``task = "retrieval"``).

Examples
--------
>>> from tamis.benchmarks import parse_config
>>> data = {"name": "toy", "features": "x.npy", "labels": "y.npy", "truth": "t.npy"}
>>> config = parse_config({"data": [data]})
>>> config.seeds, config.detectors
((0,), ('all',))
"""

from __future__ import annotations

from tamis.benchmarks.config import BenchConfig
from tamis.benchmarks.detection import run_detection
from tamis.benchmarks.reading import parse_config, read_config
from tamis.benchmarks.retrieval.bench import run_retrieval
from tamis.benchmarks.retrieval.config import RetrievalConfig
from tamis.benchmarks.run_folder import Bench
from tamis.benchmarks.training.bench import run_training
from tamis.benchmarks.training.config import TrainingConfig

__all__ = [
    "Bench",
    "BenchConfig",
    "RetrievalConfig",
    "TrainingConfig",
    "parse_config",
    "read_config",
    "run_detection",
    "run_retrieval",
    "run_training",
]
