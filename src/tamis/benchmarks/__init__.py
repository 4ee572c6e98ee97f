"""Benchmarks from a configuration file: data x noise x detectors x seeds, resumable, one table.

Examples
--------
>>> from tamis.benchmarks import parse_config
>>> data = {"name": "toy", "features": "x.npy", "labels": "y.npy", "truth": "t.npy"}
>>> config = parse_config({"data": [data]})
>>> config.seeds, config.detectors
((0,), ('all',))
"""

from __future__ import annotations

from tamis.benchmarks.config import BenchConfig, parse_config, read_config
from tamis.benchmarks.detection import run_detection

__all__ = ["BenchConfig", "parse_config", "read_config", "run_detection"]
