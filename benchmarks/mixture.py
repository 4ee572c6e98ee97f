"""A mixture of two Gaussians on a million losses: histogram against scikit-learn, same start, tolerance 1e-8.

    python benchmarks/mixture.py --out mixture.json

The start is the best split into two means. Both then iterate until the mean log-likelihood changes by less
than the tolerance; the posteriors of all losses are compared, and the processor seconds of fit and posteriors
together, after one small run of both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from results import Cell, Column, Report

from tamis.statistics.two_gaussians import fit_two_gaussians, split_into_two_means
from tamis.statistics.value_histogram import Points

KINDS = ("gaussian", "exponential", "softmax", "score")
COLUMNS = (
    Column("losses", "losses"),
    Column("n_iter", "iterations"),
    Column("peer_iter", "scikit-learn's"),
    Column("difference", "largest difference of posteriors", ".1e"),
    Column("cpu", "CPU s", ".3f"),
    Column("peer_cpu", "scikit-learn CPU s", ".2f"),
    Column("times", "times less", ".0f"),
)


def losses(kind: str, n: int, seed: int) -> npt.NDArray[np.float64]:
    """Return n losses, three in ten of wrong labels; "score": log-likelihoods from 0 to 1, clean near 1."""
    rng = np.random.default_rng(seed)
    is_wrong = rng.random(n) < 0.3
    if kind == "gaussian":
        return np.where(is_wrong, rng.normal(3, 1, n), rng.normal(0.3, 0.3, n))
    if kind == "softmax":
        logits = rng.normal(size=(n, 10))
        truth = rng.integers(0, 10, n)
        logits[np.arange(n), truth] += 4
        given = np.where(is_wrong, rng.integers(0, 10, n), truth)
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(n), given]
    values = np.where(is_wrong, np.abs(rng.normal(4, 1.5, n)), rng.exponential(0.05, n))
    return values if kind == "exponential" else 1 - values / values.max()


def compare(kind: str, n: int, seed: int, tol: float) -> dict[str, Cell]:
    """Fit both to the same losses."""
    from sklearn.mixture import GaussianMixture

    values = losses(kind, n, seed)
    start = time.process_time()
    ours = fit_two_gaussians(values, tol=tol, max_iter=10_000, exact_values=0)
    posterior = ours.low_posterior(values)
    cpu = time.process_time() - start
    weights, means, variances = _start(values)
    start = time.process_time()
    peer = GaussianMixture(
        2,
        tol=tol,
        max_iter=10_000,
        weights_init=weights,
        means_init=means[:, None],
        precisions_init=(1 / variances)[:, None, None],
    ).fit(values[:, None])
    theirs = peer.predict_proba(values[:, None])[:, peer.means_[:, 0].argmin()]
    peer_cpu = time.process_time() - start
    return {
        "losses": kind,
        "n_iter": ours.n_iter,
        "peer_iter": int(peer.n_iter_),
        "difference": float(np.abs(posterior - theirs).max()),
        "cpu": cpu,
        "peer_cpu": peer_cpu,
        "times": peer_cpu / max(cpu, 1e-9),
    }


def _start(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    """Return weights, means and variances of the best split of the values themselves."""
    ordered = np.sort(values)
    place = split_into_two_means(Points(np.ones(len(ordered)), ordered, np.zeros(len(ordered))))
    parts = ordered[:place], ordered[place:]
    weights = np.array([len(part) for part in parts]) / len(values)
    return weights, np.array([part.mean() for part in parts]), np.array([part.var() + 1e-6 for part in parts])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="losses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tol", type=float, default=1e-8)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, help="JSON file of the rows")
    options = parser.parse_args(argv)
    report = Report("mixture", options.out)
    compare(options.kinds[0], min(options.n, 20_000), options.seed, options.tol)
    for kind in options.kinds:
        report.add(compare(kind, options.n, options.seed, options.tol))
    report.show(COLUMNS)


if __name__ == "__main__":
    main()
