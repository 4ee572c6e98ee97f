"""What one entry of the golden map is, and how its values become arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch

Case: TypeAlias = Mapping[str, object]
Outputs: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class Golden:
    """One golden file: the public functions it covers and how a case of it is run.

    Attributes
    ----------
    functions : tuple of str
        Full names of the functions.
    run : callable
        ``run(inputs, params) -> outputs``; an output may be missing where the case does not expect it.
    pending : mapping of pattern to topic
        Cases whose names match (``"mixfix_*"``) wait for functions that are not written yet.
    informative : tuple of str
        Expected values that say how the case was made, such as the truth: no function can give them.
    takes_source : bool
        The runner finds the case's ``source`` among the parameters: one file covers functions of the authors
        that neither inputs nor parameters tell apart.
    """

    functions: tuple[str, ...]
    run: Callable[[Case, Case], Outputs]
    pending: Mapping[str, str] = field(default_factory=dict)
    informative: tuple[str, ...] = ()
    takes_source: bool = False

    def outputs(self, case: Case) -> Outputs:
        """Run one case of the file."""
        params = dict(case["params"])
        if self.takes_source:
            params["source"] = case["source"]
        return self.run(case["inputs"], params)


def as_array(value: object) -> np.ndarray:
    """Return numbers, lists of numbers and tensors as one float64 array; NaN fills up shorter rows."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, list) and all(isinstance(row, list) for row in value):
        widest = max(map(len, value), default=0)
        value = [[*row, *[None] * (widest - len(row))] for row in value]
    return np.asarray(value, dtype=np.float64)
