"""Annotator-pool noise: every sample is labelled by some of a crowd."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_codes
from tamis.noise.draws import below, categories, uniforms
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.transition import check_transition
from tamis.registry import Facts
from tamis.types import FloatArray, IntArray

_BLOCK_CELLS = 2_000_000


class AnswerTable(NamedTuple):
    """Answers in long form: one row an answer, three (n_answers,) int64 arrays."""

    task: IntArray
    worker: IntArray
    label: IntArray


@dataclass(frozen=True, eq=False)
class AnnotatorPool:
    """The answers of a crowd, and the truth about them. Arrays are read-only.

    Attributes
    ----------
    true_labels : (n,) int64
    workers : (n, r) int64
        Who answered, in the order of answering: numbers 0 to M - 1, each at most once a sample; -1 after
        the last answer of a sample.
    given : (n, r) int64
        What each of them answered; -1 after the last.
    confusions : (M, K, K) float64
        P(answer = j | true = i) of every annotator, for a sample of difficulty 1.
    random_state : int
        Seed of the ties of `majority` and the choice of `random`.
    """

    true_labels: IntArray
    workers: IntArray
    given: IntArray
    confusions: FloatArray = field(repr=False)
    random_state: int

    def __post_init__(self) -> None:
        for array in (self.true_labels, self.workers, self.given, self.confusions):
            array.flags.writeable = False

    @cached_property
    def answers(self) -> npt.NDArray[np.int32]:
        """(n, M) int32 answers, one column an annotator; -1 = missing."""
        matrix = np.full((len(self.given), len(self.confusions)), -1, dtype=np.int32)
        table = self.table()
        matrix[table.task, table.worker] = table.label
        matrix.flags.writeable = False
        return matrix

    def table(self) -> AnswerTable:
        """Return the answers as a table of sample, annotator and label."""
        task, place = np.nonzero(self.given >= 0)
        return AnswerTable(task, self.workers[task, place], self.given[task, place])

    def majority(self) -> NoisyLabels:
        """Return the most frequent answer of every sample; one of the tied, at random, where it is open."""
        votes = np.zeros((len(self.given), self.confusions.shape[1]), dtype=np.int64)
        for place in range(self.given.shape[1]):
            rows = np.flatnonzero(self.given[:, place] >= 0)
            votes[rows, self.given[rows, place]] += 1
        is_best = votes == votes.max(axis=1, keepdims=True)
        draws = uniforms(self.random_state, "annotator_pool.majority", len(votes), 1)[:, 0]
        labels = categories(is_best.astype(np.float64), draws)
        n_tied = int((is_best.sum(axis=1) > 1).sum())
        return self._result(labels, "majority", {"n_ties": n_tied})

    def worst(self) -> NoisyLabels:
        """Return the last wrong answer of every sample; the true label where all answers are right."""
        labels = self.true_labels.copy()
        for place in range(self.given.shape[1]):
            answer = self.given[:, place]
            is_wrong = (answer >= 0) & (answer != self.true_labels)
            labels[is_wrong] = answer[is_wrong]
        return self._result(labels, "worst", {})

    def random(self) -> NoisyLabels:
        """Return one of the answers of every sample, at random."""
        draws = uniforms(self.random_state, "annotator_pool.random", len(self.given), 1)[:, 0]
        place = below(draws, (self.given >= 0).sum(axis=1))
        return self._result(self.given[np.arange(len(self.given)), place], "random", {})

    def _result(self, labels: IntArray, rule: str, details: dict[str, float]) -> NoisyLabels:
        table = self.table()
        truth = self.true_labels[table.task]
        expected = 1 - self.confusions[table.worker, truth, truth]
        return NoisyLabels.from_flips(
            self.true_labels,
            labels,
            None,
            nominal_rate=float(np.clip(expected.mean(), 0, 1)) if len(expected) else 0.0,
            n_classes=self.confusions.shape[1],
            model="annotator_pool",
            convention=f"{rule} of up to {self.given.shape[1]} answers",
            details={"answer_error_rate": float((table.label != truth).mean()) if len(truth) else 0.0}
            | details,
        )


@NOISE_MODELS.register(
    "annotator_pool", Facts(title="Annotator pool (crowd)", inputs=("confusions",), task="crowd")
)
def annotator_pool(
    labels: npt.ArrayLike,
    confusions: npt.ArrayLike,
    answers_per_sample: int | npt.ArrayLike = 3,
    random_state: int = 0,
    *,
    difficulty: npt.ArrayLike | None = None,
) -> AnnotatorPool:
    """Return the answers of a crowd: every sample is labelled by some annotators, each with own confusions.

    Annotators are drawn without repetition, all equally often. `AnnotatorPool.majority`, ``worst`` and
    ``random`` turn the answers into one label a sample; their ``nominal_rate`` is the error rate to be
    expected of a single answer of difficulty 1.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to K - 1.
    confusions : (M, K, K) float
        P(answer = j | true = i) of every annotator, rows sum to 1 within 1e-6; see
        `one_coin_confusions`, `shared_confusions`, `spammer_confusions`, `adversary_confusions`, and join
        several with ``np.concatenate``.
    answers_per_sample : int or (n,) integers
        1 to M.
    random_state : int
        Seed, 0 to 2**64 - 1.
    difficulty : (n,) float, optional
        At least 0: the probability of the right answer is raised to this power, the others grow in
        proportion. 0 = always right, 1 = as the confusions say, above 1 = harder.

    Returns
    -------
    AnnotatorPool

    Raises
    ------
    InputError
        If an argument is outside its range.

    Examples
    --------
    >>> from tamis.noise import one_coin_confusions
    >>> pool = annotator_pool([0, 1, 2] * 100, one_coin_confusions(20, 3), answers_per_sample=3)
    >>> pool.answers.shape, int((pool.answers >= 0).sum())
    ((300, 20), 900)
    >>> pool.majority().realised_rate < pool.random().realised_rate < pool.worst().realised_rate
    True
    """
    experts = _checked_confusions(confusions)
    true = check_codes(labels, experts.shape[1])
    counts = _counts(answers_per_sample, len(true), len(experts))
    hardness = None if difficulty is None else _difficulty(difficulty, len(true))
    n_places = int(counts.max(initial=1))
    workers = _workers(len(true), len(experts), n_places, random_state)
    given = np.empty_like(workers)
    for place in range(n_places):
        draws = uniforms(random_state, "annotator_pool.answer", len(true), 1, stream=place)[:, 0]
        step = max(1, _BLOCK_CELLS // experts.shape[1])
        for start in range(0, len(true), step):
            rows = slice(start, start + step)
            probs = experts[workers[rows, place], true[rows]]
            if hardness is not None:
                probs = _harder(probs, true[rows], hardness[rows])
            given[rows, place] = categories(probs, draws[rows])
    is_missing = np.arange(n_places) >= counts[:, None]
    workers[is_missing], given[is_missing] = -1, -1
    return AnnotatorPool(true, workers, given, experts, random_state)


def _workers(n_samples: int, n_annotators: int, n_places: int, random_state: int) -> IntArray:
    """Return (n, r) annotators in random order, without repetition within a row."""
    workers = np.empty((n_samples, n_places), dtype=np.int64)
    for place in range(n_places):
        draws = uniforms(random_state, "annotator_pool.worker", n_samples, 1, stream=place)[:, 0]
        chosen = below(draws, n_annotators - place)
        # The draw counts those who are still free: step over the taken ones, lowest number first.
        taken = np.sort(workers[:, :place], axis=1)
        for column in range(place):
            chosen += chosen >= taken[:, column]
        workers[:, place] = chosen
    return workers


def _harder(
    probs: npt.NDArray[np.float64], true: IntArray, difficulty: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return (b, K) probabilities whose right answer is raised to the power of the difficulty."""
    rows = np.arange(len(true))
    before = probs[rows, true]
    after = before**difficulty
    rest = 1 - before
    scale = np.divide(1 - after, rest, out=np.zeros_like(rest), where=rest > 0)
    harder = probs * scale[:, None]
    harder[rows, true] = after
    return harder


def _checked_confusions(confusions: npt.ArrayLike) -> npt.NDArray[np.float64]:
    matrices = np.asarray(confusions)
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not matrices.size:
        raise InputError(
            f"confusions has shape {matrices.shape}; give one (K, K) matrix an annotator: (M, K, K)"
        )
    return np.stack([check_transition(each, f"confusions[{m}]") for m, each in enumerate(matrices)])


def _counts(answers_per_sample: int | npt.ArrayLike, n_samples: int, n_annotators: int) -> IntArray:
    counts = np.asarray(answers_per_sample)
    is_legal = np.issubdtype(counts.dtype, np.integer) and counts.shape in {(), (n_samples,)}
    if not is_legal or (counts.size and (counts.min() < 1 or counts.max() > n_annotators)):
        raise InputError(
            f"answers_per_sample must be a whole number from 1 to {n_annotators}, the number of annotators, "
            f"or one such number for each of {n_samples} samples; got {answers_per_sample!r}"
        )
    return np.broadcast_to(counts, (n_samples,)).astype(np.int64)


def _difficulty(difficulty: npt.ArrayLike, n_samples: int) -> npt.NDArray[np.float64]:
    values = np.asarray(difficulty, dtype=np.float64)
    if values.shape != (n_samples,) or not (np.isfinite(values) & (values >= 0)).all():
        raise InputError(f"difficulty must be {n_samples} finite numbers of at least 0, one a sample")
    return values
