"""A benchmark of seconds: planted errors in scikit-learn's digits, found by an audit, and trained with.

Prints one line a noise rate and the table of benchmarks/training_smoke.toml; fails if an average precision or
an accuracy falls under its floor. Run: `make bench-smoke`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

import tamis

RATES = (0.08, 0.3)
FLOOR = 0.85
ACCURACY = {"gce": 0.85, "elr": 0.88}
"""Half of the labels are wrong; cross-entropy comes to about 0.8."""
TEST_ROWS = 500


def main() -> int:
    """Run both benchmarks and return the exit code."""
    return max(auditing(), training())


def training() -> int:
    """Train on labels that are half wrong; return 1 where a method falls under its floor."""
    from tamis.benchmarks import TrainingConfig, read_config, run_training

    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(digits))
    features, truth = images[order].astype(np.float32), digits[order]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder) / "digits.npz",
            features=features[TEST_ROWS:],
            truth=truth[TEST_ROWS:],
            test_features=features[:TEST_ROWS],
            test_labels=truth[:TEST_ROWS],
        )
        os.environ["TAMIS_BENCH_ARRAYS"] = folder
        config = read_config(Path(__file__).with_name("training_smoke.toml"))
        assert isinstance(config, TrainingConfig)
        bench = run_training(config, Path(folder) / "run")
        print((bench.folder / "table.md").read_text(encoding="utf-8"))
    found = {str(row["candidate"]): row for row in bench.rows}
    low = [name for name, floor in ACCURACY.items() if float(found[name].get("last") or 0.0) < floor]
    if low:
        print(f"test accuracy of {', '.join(low)} is below its floor {ACCURACY}", file=sys.stderr)
    return int(bool(low))


def auditing() -> int:
    """Audit; return 1 where an average precision falls under the floor."""
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
