"""Samplers: the order in which rows are trained on, a pure function of seed and epoch.

Each is a function that returns int64 row numbers; cut them into batches, or hand them to a ``DataLoader`` as
its ``sampler``.

Examples
--------
>>> import torch
>>> from torch.utils.data import DataLoader, TensorDataset
>>> labels = torch.tensor([0, 0, 0, 1])
>>> data = TensorDataset(torch.randn(4, 2), labels)
>>> order = class_balanced(labels, None, seed=0, epoch=5).tolist()
>>> for inputs, targets in DataLoader(data, batch_size=3, sampler=order):
...     pass
"""

from __future__ import annotations

from tamis.samplers.class_balanced import class_balanced, class_capped
from tamis.samplers.m_per_class import m_per_class
from tamis.samplers.shuffled import cycled, shuffled

__all__ = ["class_balanced", "class_capped", "cycled", "m_per_class", "shuffled"]
