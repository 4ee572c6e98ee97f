"""``tamis quickstart``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.cli.options import JsonOption, SeedOption

if TYPE_CHECKING:
    from tamis.data import Dataset
    from tamis.noise import NoisyLabels

RATE = 0.08

EXAMPLES = """\b
Examples:
  tamis quickstart
  tamis quickstart --seed 7 --out runs/try
"""


def run(
    out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/quickstart"),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Show in half a minute what an audit finds: real images, planted errors, no network.

    Takes the 1,797 handwritten digits that come with scikit-learn, gives 8 % of them a wrong label, audits
    them without telling, and counts how many of the planted errors it found.
    """
    from tamis.auditing import audit
    from tamis.cli.findings import findings_json, print_findings
    from tamis.cli.screen import Screen

    screen = Screen(as_json=as_json)
    start = time.perf_counter()
    dataset, noisy = planted_digits(seed)
    n_planted = int(noisy.is_wrong.sum())
    screen.line(
        f"{len(dataset):,} handwritten digits; {n_planted} of them now carry a wrong label (seed {seed}).\n"
    )
    finished = audit(dataset, random_state=seed, out=out)
    seconds = time.perf_counter() - start

    ids = finished.ranked(n_planted).column("id").to_pylist()
    row_of = {name: row for row, name in enumerate(dataset.ids)}
    n_found = int(noisy.is_wrong[[row_of[name] for name in ids]].sum())
    is_flagged = finished.issues.column("is_label_issue").to_numpy()
    n_flagged, n_right = int(is_flagged.sum()), int((is_flagged & noisy.is_wrong).sum())
    screen.line(
        f"Found {n_found} of the {n_planted} planted errors among the first {n_planted} of the ranking; "
        f"of {n_flagged} flagged labels {n_right} are planted errors. {seconds:.1f} s.\n"
    )
    print_findings(screen, finished, 10)
    measured = {
        "n_planted": n_planted,
        "n_found": n_found,
        "precision_at_planted": n_found / n_planted,
        "precision_of_flags": n_right / n_flagged if n_flagged else None,
        "total_seconds": seconds,
    }
    screen.result(findings_json(finished, "quickstart", 10) | measured)


def planted_digits(seed: int) -> tuple[Dataset, NoisyLabels]:
    """Return scikit-learn's digits with ``RATE`` of the labels replaced, and the truth about them."""
    import dataclasses

    import numpy as np
    from sklearn.datasets import load_digits

    from tamis.data import ImageArrayInput, from_arrays
    from tamis.noise import symmetric

    pixels, digits = load_digits(return_X_y=True)
    noisy = symmetric(digits, RATE, n_classes=10, random_state=seed, exact="global")
    dataset = from_arrays(features=pixels.astype(np.float32) / 16, labels=noisy.labels)
    # 8 x 8 pixels of 0 .. 16 ink, shown as dark on white.
    pictures = (255 - pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    named = {"inputs": {"image": ImageArrayInput(pictures)}, "truth": digits.astype(np.int32)}
    return dataclasses.replace(dataset, source="the digits of scikit-learn", **named), noisy
