"""Two opinions on the same labels pooled: logarithms of probabilities averaged, then brought to one level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from tamis.auditing.first_opinion import FirstOpinion
from tamis.auditing.rows import Rows
from tamis.statistics.logistic import fit_logistic
from tamis.statistics.translation import Translation, fit_translation
from tamis.types import BoolArray, FloatArray, IntArray

MOST_WEIGHT = 0.2
"""Weight of the method, that of the audit being the rest; see ``docs/verdicts.md`` for how it was chosen."""

_AGREEMENT = (0.2, 0.6)
"""Agreement with the audit below which the method has no weight, and from which it loses none."""

_LEARNED = (0.2, 0.8)
"""Share of wrong labels learned by heart: up to the first the method loses no weight, from the second all."""

_BLOCK_CELLS = 4_000_000
_FIT_ROWS = 25_000
_FIT_CELLS = 1_000_000
_FEWEST_HELD_OUT = 100
_LEAST = 1e-6


@dataclass(frozen=True)
class Pool:
    """Two opinions together; rows in the order of the assessed rows.

    Attributes
    ----------
    posterior : (m, C) float32
    low, high : (m,) float64
    weight : float
        Of the method, 0 to `MOST_WEIGHT`.
    agreement : float
        Share of the variance of the audit's label scores that the translated beliefs explain, at most 1.
    repeated : float
        Share of given labels that the method holds for the most probable class, of those it was trained on.
    learned : float
        How many more labels it repeats than the audit holds for right, as a share of the wrong ones.
    """

    posterior: FloatArray
    low: FloatArray
    high: FloatArray
    weight: float
    agreement: float
    repeated: float
    learned: float

    @property
    def is_by_heart(self) -> bool:
        """Whether the method has learned so many wrong labels that it has no weight."""
        return self.learned >= _LEARNED[1]

    def transition(self, rows: Rows) -> FloatArray:
        """Return P(given | true), (C, C) float64, from the posterior mass of each given label."""
        mass = np.stack(
            [
                self.posterior[rows.codes == code].sum(axis=0, dtype=np.float64)
                for code in range(len(rows.classes))
            ],
            axis=1,
        )
        shares: FloatArray = mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-300)
        return shares


def pool_opinions(
    first: FirstOpinion, beliefs: FloatArray, has_opinion: BoolArray, is_held_out: BoolArray
) -> Pool:
    """Weigh an audit's verdict and a method's beliefs together.

    Parameters
    ----------
    first : FirstOpinion
        The audit's.
    beliefs : (n, K) float
        Of the method, rows in data-set order, classes in that of the data set.
    has_opinion : (n,) bool
        Rows on which the method says anything; the others keep the audit's verdict.
    is_held_out : (n,) bool
        Rows the method was not trained on: their beliefs are translated on their own, where there are 100.

    Notes
    -----
    The beliefs are translated (`tamis.statistics.translation`). The weight w of the method is `MOST_WEIGHT`,
    less where the translated beliefs explain under 60 % of the variance of the audit's label scores (nothing
    from 20 % down), and less where the method has learned over 20 % of the wrong labels by heart (nothing
    from 80 % up): so many more labels does it repeat than are right. The logarithms of the audit's
    probabilities p and of the translated ones q are averaged; the log-odds l of the given label are then
    brought to the audit's level by sigmoid(a + b l), fitted to the audit's label scores, so the expected
    number of wrong labels stays. The two ends of the score move by as much as the score, in log-odds.
    """
    codes = first.rows.codes
    part = _parts(has_opinion[first.rows.rows], is_held_out[first.rows.rows])
    speaks = part >= 0
    pooled = _translated(first, beliefs, part)  # log q; below, in place, the posterior
    agreement = _agreement(first.score[speaks], np.exp(_own(pooled, codes))[speaks])
    trained = part == 0
    repeated = _repeated(first, beliefs)[trained]
    learned = _learned_by_heart(repeated, first.score[trained])
    weight = MOST_WEIGHT * _ramp(agreement, _AGREEMENT) * (1 - _ramp(learned, _LEARNED))
    log_odds = _mix(first, pooled, np.where(speaks, weight, 0.0))
    score = first.score.copy()
    score[speaks] = _at_level(log_odds[speaks], first.score[speaks])
    _set_own(pooled, codes, score)
    ends = [_moved(end, first.score, score) for end in (first.low, first.high)]
    return Pool(
        pooled,
        np.minimum(ends[0], score),
        np.maximum(ends[1], score),
        weight,
        agreement,
        float(repeated.mean()) if len(repeated) else 0.0,
        learned,
    )


def _ramp(value: float, ends: tuple[float, float]) -> float:
    """Return 0 up to the first end, 1 from the second."""
    low, high = ends
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _parts(has_opinion: BoolArray, is_held_out: BoolArray) -> IntArray:
    """Return 0 for rows the method was trained on, 1 for those held out, -1 where it says nothing."""
    part = np.where(is_held_out, 1, 0)
    if min((part == 1).sum(), (part == 0).sum()) < _FEWEST_HELD_OUT:
        part[:] = 0
    part[~has_opinion] = -1
    return part


def _translated(first: FirstOpinion, beliefs: FloatArray, part: IntArray) -> FloatArray:
    """Return (m, C) float32 log-probabilities; zeros in rows of part -1."""
    rows = first.rows
    found = np.zeros((len(part), len(rows.classes)), dtype=np.float32)
    for number in np.unique(part[part >= 0]):
        members = np.flatnonzero(part == number)
        translation = _learned(first, beliefs, members)
        for block in _chunks(members, len(rows.classes)):
            found[block] = translation.log_probs(_of(beliefs, first, block), rows.codes[block])
    return found


def _learned(first: FirstOpinion, beliefs: FloatArray, members: IntArray) -> Translation:
    # By rank, which does not depend on the order of rows; evenly spaced from the worst to the best.
    members = members[np.argsort(first.places[first.rows.rows[members]])]
    most = max(1, min(_FIT_ROWS, _FIT_CELLS // len(first.rows.classes)))
    if len(members) > most:
        members = members[np.linspace(0, len(members) - 1, most).round().astype(np.int64)]
    return fit_translation(_of(beliefs, first, members), first.rows.codes[members], first.posterior(members))


def _of(beliefs: FloatArray, first: FirstOpinion, members: IntArray) -> FloatArray:
    """Return beliefs of some assessed rows about the assessed classes."""
    chosen: FloatArray = beliefs[first.rows.rows[members]][:, first.rows.classes]
    return chosen


def _chunks(members: IntArray, n_classes: int) -> Iterator[IntArray]:
    step = max(1, _BLOCK_CELLS // n_classes)
    for start in range(0, len(members), step):
        yield members[start : start + step]


def _own(log_probs: FloatArray, codes: IntArray) -> FloatArray:
    own: FloatArray = log_probs[np.arange(len(codes)), codes].astype(np.float64)
    return own


def _repeated(first: FirstOpinion, beliefs: FloatArray) -> BoolArray:
    """Return (m,) whether the given label is the most probable class."""
    found = np.zeros(len(first.score), dtype=bool)
    for block in _chunks(np.arange(len(found)), len(first.rows.classes)):
        found[block] = _of(beliefs, first, block).argmax(axis=1) == first.rows.codes[block]
    return found


def _learned_by_heart(repeated: BoolArray, score: FloatArray) -> float:
    """Return how many more labels are repeated than are right, as a share of the wrong ones; from 0 to 1."""
    if not len(score):
        return 0.0
    excess = float(repeated.mean()) - float(score.mean())
    return max(0.0, excess) / max(1e-9, 1 - float(score.mean()), excess)


def _agreement(score: FloatArray, translated: FloatArray) -> float:
    """Return the share of the variance of ``score`` that ``translated`` explains; 0 where there is none."""
    variance = float(score.var()) if len(score) else 0.0
    if variance < 1e-12:
        return 0.0
    return 1 - float(np.mean((score - translated) ** 2)) / variance


def _mix(first: FirstOpinion, pooled: FloatArray, weights: FloatArray) -> FloatArray:
    """Turn log q into the pooled posterior, in place; return the log-odds of the given labels, (m,)."""
    log_odds = np.empty(len(weights))
    for block in _chunks(np.arange(len(weights)), pooled.shape[1]):
        share = weights[block, None]
        mixed = (1 - share) * np.log(first.posterior(block)) + share * pooled[block]
        mixed = np.exp(mixed - mixed.max(axis=1, keepdims=True))
        mixed /= mixed.sum(axis=1, keepdims=True)
        own = _own(mixed, first.rows.codes[block])
        log_odds[block] = _logit(own)
        pooled[block] = mixed
    return log_odds


def _logit(probs: FloatArray) -> FloatArray:
    inside = np.clip(probs, _LEAST, 1 - _LEAST)
    odds: FloatArray = np.log(inside) - np.log1p(-inside)
    return odds


def _at_level(log_odds: FloatArray, score: FloatArray) -> FloatArray:
    """Return sigmoid(a + b log_odds) with the mean of ``score``, the closest to it by cross-entropy."""
    values = torch.from_numpy(log_odds)[:, None]
    wanted = torch.from_numpy(score)
    model = fit_logistic([values], [torch.stack([1 - wanted, wanted], dim=1)], penalty=1e-9)
    found: FloatArray = torch.softmax(model.logits(values), 1)[:, 1].numpy()
    return found


def _set_own(posterior: FloatArray, codes: IntArray, score: FloatArray) -> None:
    """Give each row's given class its score, in place; the other classes share the rest as before."""
    for block in _chunks(np.arange(len(codes)), posterior.shape[1]):
        mine = posterior[block].astype(np.float64)
        own = (np.arange(len(block)), codes[block])
        mine[own] = 0
        total = np.maximum(mine.sum(axis=1), 1e-300)
        mine *= ((1 - score[block]) / total)[:, None]
        mine[own] = score[block]
        posterior[block] = mine


def _moved(end: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the end of a score's interval, moved in log-odds as the score was."""
    moved: FloatArray = 1 / (1 + np.exp(-(_logit(end) + _logit(after) - _logit(before))))
    return moved
