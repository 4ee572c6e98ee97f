"""A benchmark of seconds: planted errors in scikit-learn's digits, found by a default audit.

Prints one line a noise rate and fails if an average precision falls under the floor. Run: `make bench-smoke`.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

import tamis

RATES = (0.08, 0.3)
FLOOR = 0.85


def main() -> int:
    """Run the benchmark and return the exit code."""
    features, digits = load_digits(return_X_y=True)
    lowest = 1.0
    print("nominal  realised  expected  average precision  seconds")
    for rate in RATES:
        noisy = tamis.noise.symmetric(digits, rate, n_classes=10, random_state=0)
        start = time.perf_counter()
        audit = tamis.audit(features=features, labels=noisy.labels)
        seconds = time.perf_counter() - start
        scores = np.nan_to_num(audit.issues.column("label_score").to_numpy(), nan=1.0)
        precision = average_precision_score(noisy.is_wrong, -scores)
        lowest = min(lowest, precision)
        expected = (
            "-" if audit.expected_wrong is None else f"{audit.expected_wrong.estimate / len(digits):.3f}"
        )
        print(f"{rate:7.3f}  {noisy.realised_rate:8.3f}  {expected:>8}  {precision:17.3f}  {seconds:7.1f}")
    if lowest < FLOOR:
        print(f"average precision {lowest:.3f} is below {FLOOR}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
