"""A trial from its description to its row: what a worker process does."""

from __future__ import annotations

from tamis.benchmarks.outcomes import Result, outcome_of
from tamis.benchmarks.retrieval.config import UNTRAINED, RetrievalConfig
from tamis.benchmarks.retrieval.fitting import RetrievalFit, found_by
from tamis.benchmarks.retrieval.material import chance, gather_retrieval, split_of
from tamis.benchmarks.retrieval.plan import Trial


def run_trial(config: RetrievalConfig, trial: Trial) -> Result:
    """Return the row of a trial, with its curves; what goes wrong is said in the row."""
    is_trained = trial.method.method != UNTRAINED
    row: Result = {
        "data": trial.data.name,
        "noise": trial.noise.name if is_trained else None,
        "candidate": trial.method.title,
        "method": trial.method.method,
        "seed": trial.seed if is_trained else None,
    }
    return outcome_of(row, lambda row: _fill(row, config, trial))


def _fill(row: Result, config: RetrievalConfig, trial: Trial) -> None:
    if trial.method.method == UNTRAINED:
        split = split_of(trial.data)
        row |= found_by(split.raw_test_inputs, split.test_labels)
        return
    material = gather_retrieval(trial.data, trial.noise, trial.seed)
    test_labels = material.split.test_labels
    row |= {
        "rows": len(material.given),
        "classes": int(material.split.truth.max()) + 1,
        "given_classes": material.n_classes,
        "test_rows": len(test_labels),
        "test_classes": int(test_labels.max()) + 1,
        "chance": chance(test_labels),
        "nominal_rate": material.nominal_rate,
        "realised_rate": material.realised_rate,
        "filter_rate": material.filter_rate,
        "digest": material.digest,
    }
    figures, curves = RetrievalFit(config, trial, material).run()
    row |= {**figures, "curves": curves}
