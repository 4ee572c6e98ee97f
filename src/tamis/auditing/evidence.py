"""The arithmetic of an audit: out-of-sample probabilities and neighbours, two rounds, then the posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tamis.auditing.material import Material
from tamis.auditing.probes import LEAST_PROB, Probe, choose_probe
from tamis.auditing.rows import Rows
from tamis.auditing.zero_shot import weigh_zero_shot
from tamis.neighbors import Neighbors, neighbor_vote
from tamis.runs import StageStore
from tamis.statistics.noise_model import NoiseModel
from tamis.statistics.noise_posterior import AMBIGUITY, fit_noise_model, likeliest, refit_class_weights
from tamis.types import FloatArray, IntArray

# Share of a class that no neighbour voted for: a tenth of a vote among 20.
_VOTE_FLOOR = 0.005
# The two ends of the assumption about annotators, as factors of the exponent.
_LOW, _HIGH = 0.5, 1.5


@dataclass(frozen=True)
class Evidence:
    """What was found about the assessed rows, in the order of ``Rows.rows``.

    Attributes
    ----------
    posterior : (m, C) float32
        P(true class | everything), canonical classes.
    low, high : (m,) float64
        P(given label is right) if annotators err more, or less, on hard rows than assumed.
    scores : mapping of name to (m,) float array
        One column of evidence each; lower = worse.
    transition : (C, C) float64
        Estimate of P(given | true).
    notes : tuple of str
    """

    posterior: FloatArray
    low: FloatArray
    high: FloatArray
    scores: dict[str, FloatArray]
    transition: FloatArray
    notes: tuple[str, ...]


def weigh(material: Material, rows: Rows, neighbors: Neighbors | None, store: StageStore) -> Evidence | None:
    """Combine probabilities and neighbours into the posterior of every assessed row's true class.

    None where neither of them tells the given classes apart: then nothing can be said about any label.

    First round: probabilities learned from the given labels, and the given labels of the neighbours; the
    noise is estimated here. Second round: both again, but from the posteriors of the first.
    """
    probe, notes = choose_probe(material.features, rows)
    votes = _log_votes(material, rows, neighbors, None)
    zero_shot = weigh_zero_shot(material.features, material.text_features, rows, store)
    further = {} if probe is None else probe.further_evidence()
    first = [*votes, *(_stage(store, name, compute) for name, compute in further.items())]
    first += [] if zero_shot is None else [zero_shot.log_probs]
    first = [_stage(store, "log_probs", lambda: _first_log_probs(material, rows, probe, first)), *first]
    # Row i of `log_probs` is log P(class); the column of the given label is the first piece of evidence.
    m = np.arange(len(rows.codes))
    scores: dict[str, FloatArray] = {"self_confidence": np.exp(first[0][m, rows.codes].astype(np.float64))}
    if neighbors is not None:
        given_votes = np.exp(first[1][m, rows.codes].astype(np.float64)) - _VOTE_FLOOR
        scores["neighbor_vote"] = np.clip(given_votes, 0.0, 1.0)
    if zero_shot is not None:
        scores |= zero_shot.scores
    if not any(tells_classes_apart(each, rows.codes) for each in first):
        return None
    model = fit_noise_model(first, rows.codes)
    ends = [_end(model, first, rows, factor) for factor in (_LOW, _HIGH)]
    posterior = _stage(store, "first_posterior", lambda: model.posterior(first, rows.codes))
    evidence = first
    if probe is not None:
        # Given probabilities come from another model, often a better one: they stay. Our own are replaced.
        kept = first[:1] if material.pred_probs is not None else []
        kept += [] if zero_shot is None else [zero_shot.log_probs]
        del first, votes, evidence  # each matrix is as large as the posterior: free them before the next ones
        evidence = [_stage(store, "second_log_probs", lambda: probe.from_posteriors(posterior))]
        evidence += _log_votes(material, rows, neighbors, posterior) + kept
        model, *ends = [refit_class_weights(each, evidence, rows.codes) for each in (model, *ends)]
        del posterior  # as large as all other matrices: never two at a time
        posterior = model.posterior(evidence, rows.codes)
    probs = [end.label_probs(evidence, rows.codes) for end in ends]
    middle = posterior[m, rows.codes].astype(np.float64)
    low, high = np.minimum.reduce([*probs, middle]), np.maximum.reduce([*probs, middle])
    return Evidence(posterior, low, high, scores, _transition(posterior, rows), notes)


def tells_classes_apart(log_probs: FloatArray, codes: IntArray) -> bool:
    """Say whether out-of-sample evidence knows more about the given labels than chance.

    The evidence for the given label is compared with the evidence for a label drawn from all rows. The mean
    of the difference must exceed three standard errors. Its scale, and a constant per class, do not matter.

    Parameters
    ----------
    log_probs : (n, K) float
    codes : (n,) int
        Given labels in [0, K).

    Examples
    --------
    >>> codes = np.arange(40) % 2
    >>> tells_classes_apart(np.log(0.2 + 0.6 * np.eye(2)[codes]), codes)
    True
    >>> tells_classes_apart(np.zeros((40, 2)), codes)
    False
    """
    share = np.bincount(codes, minlength=log_probs.shape[1]) / len(codes)
    means = log_probs.mean(axis=0, dtype=np.float64)
    own = log_probs[np.arange(len(codes)), codes] - means[codes]
    # In the type of the evidence: a float64 copy of (n, K) would be the largest array of all.
    drawn = log_probs @ share.astype(log_probs.dtype) - means @ share
    gain = own - drawn
    return bool(gain.mean() > max(1e-9, 3 * gain.std() / np.sqrt(len(gain))))


def _stage(store: StageStore, name: str, compute: Callable[[], FloatArray]) -> FloatArray:
    found = store.load(name)
    if found is not None:
        return np.array(found)  # in memory: a memory-mapped array is read-only, which tensors cannot be
    found = compute()
    store.save(name, found)
    return found


def _end(model: NoiseModel, evidence: list[FloatArray], rows: Rows, factor: float) -> NoiseModel:
    # The exponent may be 0 where the noise did not look at the rows: a tenth of the usual is then the least.
    ambiguity = max(model.ambiguity * factor, 0.1 * AMBIGUITY * (factor > 1))
    return fit_noise_model(evidence, rows.codes, ambiguity=ambiguity, start=model, max_iter=40)


def _first_log_probs(
    material: Material, rows: Rows, probe: Probe | None, beside: list[FloatArray]
) -> FloatArray:
    """Return log P(class), out of sample: given, or learned from the given labels in the likeliest way."""
    if material.pred_probs is not None:
        probs = material.pred_probs[rows.rows][:, rows.classes]
        return np.log(np.maximum(probs, LEAST_PROB)).astype(np.float32)
    assert probe is not None  # without probabilities there are features
    found = probe.from_given_labels()
    if len(found) == 1:
        return found[0]
    return found[likeliest([[each, *beside] for each in found], rows.codes)]


def _log_votes(
    material: Material, rows: Rows, neighbors: Neighbors | None, posterior: FloatArray | None
) -> list[FloatArray]:
    """Return the neighbours' log votes, by given labels or by posteriors: one piece of evidence or none."""
    if neighbors is None:
        return []
    # Neighbours as positions among the assessed rows; the others have no vote.
    place = np.full(len(material.dataset) + 1, -1, dtype=np.int64)
    place[rows.rows] = np.arange(len(rows.rows))
    votes = neighbor_vote(
        place[neighbors.indices[rows.rows]],
        neighbors.similarities[rows.rows],
        rows.codes if posterior is None else posterior,
        len(rows.classes),
    )
    votes += np.float32(_VOTE_FLOOR)
    return [np.log(votes, out=votes)]


def _transition(posterior: FloatArray, rows: Rows) -> FloatArray:
    """Return P(given | true), (C, C) float64, from the posterior mass of each given label."""
    n_classes = len(rows.classes)
    joint = np.zeros((n_classes, n_classes))
    for code in range(n_classes):
        joint[:, code] = posterior[rows.codes == code].sum(axis=0, dtype=np.float64)
    transition: FloatArray = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
    return transition
